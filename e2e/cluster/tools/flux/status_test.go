// Package flux tests what Flux and Helm 4 make of a Microservice, in all phases, as the engine writes its status.
package flux

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const (
	fixtures     = "../../../../contrib/argo-cd/microservice.dev/Microservice/testdata"
	contribution = "../../../../contrib/flux"
)

const (
	current    = status.CurrentStatus
	inProgress = status.InProgressStatus
	failed     = status.FailedStatus
)

// verdicts are those of kstatus itself, of paused-is-current.yaml and of served-is-current.yaml.
type verdicts struct{ kstatus, paused, served status.Status }

var expected = map[string]verdicts{
	"unseen":                      {inProgress, inProgress, inProgress},
	"unobserved":                  {inProgress, inProgress, inProgress},
	"starting":                    {inProgress, inProgress, inProgress},
	"starting-fails":              {failed, failed, failed},
	"healthy":                     {current, current, current},
	"stopped":                     {current, current, current},
	"rolling":                     {inProgress, inProgress, current},
	"waiting-for-a-person":        {inProgress, current, current},
	"waiting-for-a-coarse-weight": {inProgress, current, current},
	"promoted-by-a-person":        {inProgress, current, current},
	"paused-by-a-person":          {inProgress, current, current},
	"baking":                      {inProgress, inProgress, current},
	"returning":                   {inProgress, inProgress, current},
	"rolled-back":                 {failed, failed, failed},
	"retried":                     {failed, failed, failed},
	"held-by-the-environment":     {failed, failed, failed},
	"frozen":                      {inProgress, current, current},
	"queued":                      {inProgress, inProgress, current},
	"suspended":                   {current, current, current},
	"dependency-missing":          {inProgress, inProgress, current},
	"dependency-missing-for-long": {failed, failed, failed},
}

func read[T any](t *testing.T, path string) T {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var value T
	if err := yaml.UnmarshalStrict(data, &value); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return value
}

// readObject gives whole numbers the type that they have in Flux.
func readObject(t *testing.T, path string) *unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.YAMLToJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(text); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return object
}

// evaluator is Flux's own, with the expressions of a file.
func evaluator(t *testing.T, file string) *cel.StatusEvaluator {
	t.Helper()
	checks := read[struct {
		HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
	}](t, filepath.Join(contribution, file))
	if len(checks.HealthCheckExprs) != 1 {
		t.Fatalf("%s has %d checks", file, len(checks.HealthCheckExprs))
	}
	check := checks.HealthCheckExprs[0]
	if check.APIVersion != "microservice.dev/v1alpha1" || check.Kind != "Microservice" {
		t.Fatalf("%s is about %s %s", file, check.APIVersion, check.Kind)
	}
	e, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestVerdicts(t *testing.T) {
	paused, served := evaluator(t, "paused-is-current.yaml"), evaluator(t, "served-is-current.yaml")
	files, err := filepath.Glob(fixtures + "/*.yaml")
	if err != nil || len(files) != len(expected) {
		t.Fatalf("%d files, %d expectations, %v", len(files), len(expected), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			object := readObject(t, file)
			plain, err := status.Compute(object)
			if err != nil {
				t.Fatal(err)
			}
			got := verdicts{kstatus: plain.Status}
			for evaluator, verdict := range map[*cel.StatusEvaluator]*status.Status{paused: &got.paused, served: &got.served} {
				result, err := evaluator.Evaluate(t.Context(), object)
				if err != nil {
					t.Fatal(err)
				}
				*verdict = result.Status
			}
			if got != expected[name] {
				t.Errorf("got %v, want %v", got, expected[name])
			}
		})
	}
}
