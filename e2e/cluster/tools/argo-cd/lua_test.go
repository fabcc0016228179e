// Package argocd tests contrib/argo-cd.
package argocd

// The scripts of contrib/argo-cd, run by Argo CD's own Lua as its server runs those of argocd-cm: without string, math,
// io and most of os. The tests are in the format of its resource_customizations, so that they can go upstream as they are.

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/argo-cd/v3/util/settings"
)

const (
	contribution   = "../../../../contrib/argo-cd"
	customizations = contribution + "/microservice.dev/Microservice"
	// update writes the outputs that actions are expected to have, to be looked at before they are committed.
	update = "UPDATE"
)

type healthTests struct {
	Tests []struct {
		InputPath    string              `json:"inputPath"`
		HealthStatus health.HealthStatus `json:"healthStatus"`
	} `json:"tests"`
}

type actionTests struct {
	DiscoveryTests []struct {
		InputPath string                    `json:"inputPath"`
		Result    []v1alpha1.ResourceAction `json:"result"`
	} `json:"discoveryTests"`
	ActionTests []struct {
		Action               string `json:"action"`
		InputPath            string `json:"inputPath"`
		ExpectedOutputPath   string `json:"expectedOutputPath"`
		ExpectedErrorMessage string `json:"expectedErrorMessage"`
	} `json:"actionTests"`
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

func readObject(t *testing.T, path string) *unstructured.Unstructured {
	t.Helper()
	return &unstructured.Unstructured{Object: read[map[string]any](t, path)}
}

// machine is Argo CD's Lua with the overrides that Argo CD reads from its ConfigMap after ours was patched in.
func machine(t *testing.T) lua.VM {
	t.Helper()
	const namespace = "argocd"
	patch := read[corev1.ConfigMap](t, contribution+"/argocd-cm.yaml")
	labels := map[string]string{"app.kubernetes.io/part-of": "argocd"}
	client := fake.NewClientset(
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "argocd-cm", Namespace: namespace, Labels: labels}, Data: patch.Data},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "argocd-secret", Namespace: namespace, Labels: labels},
			Data:       map[string][]byte{"server.secretkey": []byte("x")},
		},
	)
	overrides, err := settings.NewSettingsManager(t.Context(), client, namespace).GetResourceOverrides()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := overrides["microservice.dev/Microservice"]; !ok {
		t.Fatal("Argo CD reads nothing about microservice.dev/Microservice from argocd-cm.yaml")
	}
	return lua.VM{ResourceOverrides: overrides}
}

func TestHealth(t *testing.T) {
	vm := machine(t)
	tested := map[string]bool{}
	for _, test := range read[healthTests](t, customizations+"/health_test.yaml").Tests {
		tested[filepath.Base(test.InputPath)] = true
		t.Run(test.InputPath, func(t *testing.T) {
			object := readObject(t, filepath.Join(customizations, test.InputPath))
			script, openLibraries, err := vm.GetHealthScript(object)
			if err != nil || openLibraries {
				t.Fatal(openLibraries, err)
			}
			got, err := vm.ExecuteHealthLua(object, script)
			if err != nil {
				t.Fatal(err)
			}
			if *got != test.HealthStatus {
				t.Errorf("got  %s: %s\nwant %s: %s", got.Status, got.Message, test.HealthStatus.Status, test.HealthStatus.Message)
			}
		})
	}
	files, err := filepath.Glob(customizations + "/testdata/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if !tested[filepath.Base(file)] {
			t.Errorf("health_test.yaml says nothing of %s", file)
		}
	}
}

func TestActions(t *testing.T) {
	vm := machine(t)
	directory := customizations + "/actions"
	tests := read[actionTests](t, directory+"/action_test.yaml")
	for _, test := range tests.DiscoveryTests {
		t.Run("discovery/"+test.InputPath, func(t *testing.T) {
			got := discover(t, vm, readObject(t, filepath.Join(directory, test.InputPath)))
			byName := func(a, b v1alpha1.ResourceAction) int { return strings.Compare(a.Name, b.Name) }
			slices.SortFunc(test.Result, byName)
			same := func(a, b v1alpha1.ResourceAction) bool {
				return a.Name == b.Name && a.Disabled == b.Disabled && a.DisplayName == b.DisplayName && a.IconClass == b.IconClass
			}
			if !slices.EqualFunc(got, test.Result, same) {
				text, _ := yaml.Marshal(got)
				t.Errorf("got\n%s", text)
			}
		})
	}
	tried := map[string]bool{}
	for _, test := range tests.ActionTests {
		t.Run(test.Action+"/"+test.InputPath, func(t *testing.T) {
			object := readObject(t, filepath.Join(directory, test.InputPath))
			action, err := vm.GetResourceAction(object, test.Action)
			if err != nil {
				t.Fatal(err)
			}
			enabled := slices.ContainsFunc(discover(t, vm, object), func(a v1alpha1.ResourceAction) bool {
				return a.Name == test.Action && !a.Disabled
			})
			if sensible := test.ExpectedErrorMessage == ""; enabled != sensible {
				t.Errorf("enabled is %t", enabled)
			}
			impacted, err := vm.ExecuteResourceAction(object, action.ActionLua, nil)
			if test.ExpectedErrorMessage != "" {
				if err == nil || err.Error() != test.ExpectedErrorMessage {
					t.Errorf("got the error %v, want %s", err, test.ExpectedErrorMessage)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tried[test.Action] = true
			if len(impacted) != 1 || impacted[0].K8SOperation != lua.PatchOperation {
				t.Fatalf("it does more than to change its object: %v", impacted)
			}
			path := filepath.Join(directory, test.ExpectedOutputPath)
			if os.Getenv(update) != "" {
				text, err := yaml.Marshal(impacted[0].UnstructuredObj)
				if err != nil || os.WriteFile(path, text, 0o644) != nil {
					t.Fatal(err)
				}
			}
			if got, want := text(t, impacted[0].UnstructuredObj), text(t, readObject(t, path)); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			onlyOneAnnotation(t, object, impacted[0].UnstructuredObj, test.Action)
		})
	}
	for _, action := range discover(t, vm, readObject(t, customizations+"/testdata/healthy.yaml")) {
		if !tried[action.Name] {
			t.Errorf("no test tries %s", action.Name)
		}
	}
}

func discover(t *testing.T, vm lua.VM, object *unstructured.Unstructured) []v1alpha1.ResourceAction {
	t.Helper()
	scripts, err := vm.GetResourceActionDiscovery(object)
	if err != nil {
		t.Fatal(err)
	}
	found, err := vm.ExecuteResourceActionDiscovery(object, scripts)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(found, func(a, b v1alpha1.ResourceAction) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// onlyOneAnnotation: an action is an annotation and nothing else, whatever Lua makes of empty maps and numbers.
func onlyOneAnnotation(t *testing.T, before, after *unstructured.Unstructured, action string) {
	t.Helper()
	key := "microservice.dev/" + action
	if action == "resume" {
		key = "microservice.dev/pause"
	}
	strip := func(object *unstructured.Unstructured) *unstructured.Unstructured {
		object = object.DeepCopy()
		annotations := object.GetAnnotations()
		delete(annotations, key)
		if len(annotations) == 0 {
			annotations = nil
		}
		object.SetAnnotations(annotations)
		return object
	}
	if before.GetAnnotations()[key] == after.GetAnnotations()[key] {
		t.Errorf("the annotation %s is what it was", key)
	}
	if before, after := text(t, strip(before)), text(t, strip(after)); before != after {
		t.Errorf("it changes more than %s:\n%s\n%s", key, before, after)
	}
}

// text is an object in a form in which equal ones are equal, also where Lua has made other numbers of its numbers.
func text(t *testing.T, object *unstructured.Unstructured) string {
	t.Helper()
	data, err := object.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
