package main

// Addons: what a cluster can have beside Kubernetes. Nothing of them is built or started before someone asks for it.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// addonTime is how long an addon may take from its start until it serves, on a slow machine.
const addonTime = time.Minute

// addon is a group of processes that serve one purpose.
type addon struct {
	artefacts []artefact
	wheels    []wheel
	// crds is what `cluster crds` calls the definitions that it needs, or nothing.
	crds string
	// components are its processes in the order of their start.
	components func(s *site) ([]component, error)
	// install makes the files and objects that the processes need.
	install func(ctx context.Context, s *site) error
	// ready is nil when the processes serve.
	ready func(ctx context.Context, s *site) error
	// remove takes away, before the processes end, what would disturb the cluster without them; nil: nothing would.
	remove func(ctx context.Context, s *site) error
}

// addons lists all of them. It is a function since their own functions refer to it.
func addons() map[string]addon {
	return map[string]addon{
		"argo-cd": argoCDAddon(), "istio": istioAddon(), "metrics": metricsAddon(), "prometheus": prometheusAddon(), "traefik": traefikAddon(),
	}
}

// site is a running cluster as an addon sees it.
type site struct {
	layout layout
	config config
	cache  *cache
	client *apiClient
}

// runAddon starts or stops an addon of a running cluster. It returns when the addon serves.
func runAddon(args []string) error {
	flags, dir := newFlags("addon")
	positional, rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(positional) != 2 || len(rest) > 0 || addonActions[positional[1]] == nil {
		return errAddonUsage()
	}
	a, ok := addons()[positional[0]]
	if !ok {
		return errAddonUsage()
	}
	l, err := newLayout(*dir)
	if err != nil {
		return err
	}
	s, err := l.state()
	if err != nil {
		return err
	}
	c, err := readConfig(l)
	if err != nil {
		return err
	}
	if c.Mode != real {
		return fmt.Errorf("the cluster in %s is of mode %s: addons take real pods", l, c.Mode)
	}
	if positional[1] == "start" {
		// Whoever asks may be inside of the cluster's network, from where nothing can be downloaded.
		if err := enterNetwork(s.Supervisor); err != nil {
			return err
		}
		if err := a.fetch(); err != nil {
			return err
		}
	}
	if err := enterNetwork(s.Init); err != nil {
		return err
	}
	// Only this thread is in there. Connections are made by any, so the rest is done by a process of which all are.
	return syscall.Exec("/proc/self/exe", []string{"cluster", "addon-inside", string(l), positional[0], positional[1]}, os.Environ())
}

func errAddonUsage() error {
	return fmt.Errorf("usage: cluster addon %s start|stop [--dir DIR]", strings.Join(sortedNames(addons()), "|"))
}

// addonActions are what can be done to an addon from inside of the cluster's network.
var addonActions = map[string]func(addon, *site) error{"start": addon.start, "stop": addon.stop}

// runAddonInside is what runAddon becomes.
func runAddonInside(args []string) error {
	if len(args) != 3 || addonActions[args[2]] == nil {
		return errors.New("addon-inside is started by `cluster addon`")
	}
	s, err := newSite(layout(args[0]))
	if err != nil {
		return err
	}
	return addonActions[args[2]](addons()[args[1]], s)
}

func newSite(l layout) (*site, error) {
	cache, err := openCache()
	if err != nil {
		return nil, err
	}
	c, err := readConfig(l)
	if err != nil {
		return nil, err
	}
	client, err := newAPIClient(l, c)
	return &site{l, c, cache, client}, err
}

// fetch builds and downloads all that an addon needs and that is not there.
func (a addon) fetch() error {
	cache, err := openCache()
	if err != nil {
		return err
	}
	if err := cache.buildAddon(a); err != nil {
		return err
	}
	if a.crds != "" {
		_, err = definitionsOf(crdModules[a.crds])
	}
	return err
}

// start starts the processes that do not run and waits until they serve.
func (a addon) start(s *site) error {
	ctx, cancel := context.WithTimeout(context.Background(), addonTime)
	defer cancel()
	if a.crds != "" {
		if err := s.define(ctx, a.crds); err != nil {
			return err
		}
	}
	if err := a.install(ctx, s); err != nil {
		return err
	}
	components, err := a.components(s)
	if err != nil {
		return err
	}
	for _, c := range components {
		path := "/components/" + c.name
		if err := sendOrder(s.layout, http.MethodPut, path, registration{c.binary, c.args, c.env}); err != nil {
			return err
		}
		if _, err := order(s.layout, http.MethodPost, path+"/start"); err != nil {
			return err
		}
	}
	return until(ctx, "waiting for the addon", func(ctx context.Context) error { return a.ready(ctx, s) })
}

// stop ends the processes, the last one that was started first. Those that do not run are no fault.
func (a addon) stop(s *site) error {
	ctx, cancel := context.WithTimeout(context.Background(), addonTime)
	defer cancel()
	if a.remove != nil {
		if err := a.remove(ctx, s); err != nil {
			return err
		}
	}
	components, err := a.components(s)
	if err != nil {
		return err
	}
	answer, err := order(s.layout, http.MethodGet, "/components")
	if err != nil {
		return err
	}
	var conditions map[string]condition
	if err := json.Unmarshal(answer, &conditions); err != nil {
		return err
	}
	for i := len(components) - 1; i >= 0; i-- {
		name := components[i].name
		if now := conditions[name]; now != running && now != paused {
			continue
		}
		if _, err := order(s.layout, http.MethodPost, "/components/"+name+"/stop"); err != nil {
			return err
		}
	}
	return nil
}

// registration is a component as it is sent to init.
type registration struct {
	Binary string
	Args   []string
	Env    []string
}

// register makes a component known that was not at the start of the cluster. One that runs goes on as it is until it
// is started anew.
func (m *manager) register(name string, r registration) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.components[name] = component{name: name, binary: r.Binary, args: r.Args, env: r.Env}
	log.Printf("%s: registered", name)
}

// serveRegistrations takes components on the control socket.
func serveRegistrations(routes *http.ServeMux, m *manager) {
	routes.HandleFunc("PUT /components/{name}", func(w http.ResponseWriter, request *http.Request) {
		var r registration
		if err := json.NewDecoder(request.Body).Decode(&r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		m.register(request.PathValue("name"), r)
	})
}

// define installs CustomResourceDefinitions and waits until objects of theirs can be made.
func (s *site) define(ctx context.Context, crds string) error {
	definitions, err := definitionsOf(crdModules[crds])
	if err != nil {
		return err
	}
	if err := s.apply(ctx, string(definitions)); err != nil {
		return err
	}
	wait := []string{"wait", "--for=condition=Established", "--timeout=-1s", "--filename=-"}
	for {
		err := s.kubectl(ctx, string(definitions), wait...)
		// The conditions of a definition that was made this moment are null, over which kubectl stumbles instead of
		// waiting.
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "accessor error") {
			return err
		}
	}
}

// apply applies manifests as a person would, server-side.
func (s *site) apply(ctx context.Context, manifests string) error {
	apply := []string{"apply", "--server-side", "--force-conflicts", "--field-manager=cluster-runner", "-f", "-"}
	return s.kubectl(ctx, manifests, apply...)
}

// kubectl runs kubectl with input.
func (s *site) kubectl(ctx context.Context, input string, args ...string) error {
	command := exec.CommandContext(ctx, s.layout.in("bin", "kubectl"), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+s.layout.kubeconfig())
	command.Stdin = strings.NewReader(input)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", args[0], errors.Join(err, context.Cause(ctx)), output.String())
	}
	return nil
}

// answers returns a check that a page is there.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := (&http.Client{Transport: &http.Transport{}, Timeout: time.Second}).Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, response.Status)
		}
		return nil
	}
}

// addonArtefacts are the artefacts of all addons.
func addonArtefacts() []artefact {
	var all []artefact
	for _, name := range sortedNames(addons()) {
		all = append(all, addons()[name].artefacts...)
	}
	return all
}

// buildAddon builds and downloads those parts of an addon that are not there.
func (c *cache) buildAddon(a addon) error {
	if err := c.build(a.artefacts); err != nil {
		return err
	}
	for _, w := range a.wheels {
		if err := c.download(w); err != nil {
			return err
		}
	}
	return nil
}
