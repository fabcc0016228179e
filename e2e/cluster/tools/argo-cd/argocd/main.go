// Argo CD's controllers in one binary, by the name that it is called with. As argocd-run-action it does to an object what
// an action of Argo CD's server does, which is not among them: it comes with pages for browsers.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	askpass "github.com/argoproj/argo-cd/v3/cmd/argocd-git-ask-pass/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
)

func main() {
	var command *cobra.Command
	switch filepath.Base(os.Args[0]) {
	case "argocd-application-controller":
		command = controller.NewCommand()
	case "argocd-repo-server":
		command = reposerver.NewCommand()
	case "argocd-git-ask-pass":
		command = askpass.NewCommand()
	default:
		command = &cobra.Command{
			Use: "argocd-run-action ARGOCD-CM ACTION < OBJECT", Args: cobra.ExactArgs(2),
			RunE: func(_ *cobra.Command, args []string) error { return runAction(args[0], args[1]) },
		}
	}
	command.SilenceUsage = true
	if err := command.Execute(); err != nil {
		os.Exit(1)
	}
}

// runAction prints the object that an action makes of the one on standard input, unless the action is disabled.
func runAction(file, name string) error {
	var settings corev1.ConfigMap
	var object unstructured.Unstructured
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	given, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if err := errors.Join(yaml.Unmarshal(data, &settings), object.UnmarshalJSON(given)); err != nil {
		return err
	}
	kind := object.GroupVersionKind()
	key := "resource.customizations.actions." + kind.Group + "_" + kind.Kind
	vm := lua.VM{ResourceOverrides: map[string]v1alpha1.ResourceOverride{
		lua.GetConfigMapKey(kind): {Actions: settings.Data[key]},
	}}
	scripts, err := vm.GetResourceActionDiscovery(&object)
	if err != nil {
		return err
	}
	available, err := vm.ExecuteResourceActionDiscovery(&object, scripts)
	if err != nil {
		return err
	}
	for _, action := range available {
		if action.Name != name {
			continue
		}
		if action.Disabled {
			return fmt.Errorf("the action %s is disabled", name)
		}
		definition, err := vm.GetResourceAction(&object, name)
		if err != nil {
			return err
		}
		impacted, err := vm.ExecuteResourceAction(&object, definition.ActionLua, nil)
		if err != nil {
			return err
		}
		text, err := impacted[0].UnstructuredObj.MarshalJSON()
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(text)
		return err
	}
	return fmt.Errorf("there is no action %s", name)
}
