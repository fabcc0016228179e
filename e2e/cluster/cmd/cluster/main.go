// Command cluster gives tests and demos a whole real Kubernetes on a bare Linux machine, and takes it away again
// without a trace. See ../../README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// command is one subcommand of the runner.
type command struct {
	name    string
	usage   string
	summary string
	hidden  bool
	run     func(args []string) error
}

// commands lists every subcommand in the order in which help shows them. It is a function and not a variable
// because the commands themselves refer to it.
func commands() []command {
	return []command{
		{name: "doctor", summary: "say what this machine lacks, and the command that installs it", run: runDoctor},
		{name: "build", usage: "[--kwok] [--all]", summary: "build the binaries and images into the cache", run: runBuild},
		{name: "tool", usage: "promtool|helm-3|helm-4|validate-krew-manifest", summary: "build a tool that tests take without a cluster, and print where it lies", run: runTool},
		{name: "up", usage: "[--dir DIR] [flags]", summary: "start a cluster and return when it can run pods", run: runUp},
		{name: "down", usage: "[--dir DIR]", summary: "end a cluster and remove everything that it left", run: runDown},
		{name: "run", usage: "[--dir DIR] [flags of up] -- COMMAND ARGS...", summary: "up, COMMAND inside of the cluster's network, down", run: runRun},
		{name: "exec", usage: "[--dir DIR] -- COMMAND ARGS...", summary: "run COMMAND inside of a running cluster's network", run: runExec},
		{name: "status", usage: "[--dir DIR]", summary: "list the components and their states", run: runStatus},
		{name: "image", usage: "load [--dir DIR] [--env K=V] [--label K=V] TAG BINARY [ARGS...]", summary: "pack a static binary as an image and load it; `image import ARCHIVE` loads one that is packed", run: runImage},
		{name: "addon", usage: strings.Join(sortedNames(addons()), "|") + " start|stop [--dir DIR]", summary: "start or stop what a cluster can have beside Kubernetes; built when first used", run: runAddon},
		{name: "crds", usage: strings.Join(crdNames(), "|"), summary: "print CustomResourceDefinitions from their pinned modules", run: runCRDs},
		{name: "user", usage: "[--dir DIR] NAME [GROUP...]", summary: "print a kubeconfig for another user", run: runUser},
		{name: "node", usage: "add|remove [--dir DIR] NAME", summary: "add or remove a simulated node", run: runNode},
		{name: "COMPONENT", usage: "stop|start|restart|pause|resume [--dir DIR]", summary: "inject a fault; COMPONENT is one of " + strings.Join(componentAliases(), ", "), run: nil},
		{name: "addon-inside", hidden: true, run: runAddonInside},
		{name: prometheusReloader, hidden: true, run: runPrometheusReloader},
		{name: "supervise", hidden: true, run: runSupervise},
		{name: "init", hidden: true, run: runInit},
	}
}

func main() {
	err := dispatch(os.Args[1:])
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	status := exitStatus(1)
	carried := errors.As(err, &status)
	if !carried || err != error(status) {
		fmt.Fprintln(os.Stderr, "cluster:", err)
	}
	os.Exit(int(status))
}

// exitStatus is an error that carries the exit status of a command and is not printed.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func dispatch(args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		printHelp(os.Stdout)
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] && c.run != nil {
			return c.run(args[1:])
		}
	}
	if name, ok := componentByAlias(args[0]); ok {
		return runComponent(name, args[1:])
	}
	return fmt.Errorf("%q is no command; `cluster help` lists them", args[0])
}

func printHelp(out io.Writer) {
	fmt.Fprint(out, "A whole Kubernetes for tests and demos.\n\nusage: cluster COMMAND\n\n")
	for _, c := range commands() {
		if !c.hidden {
			fmt.Fprintf(out, "  %s\n        %s\n", strings.TrimSpace(c.name+" "+c.usage), c.summary)
		}
	}
	fmt.Fprintf(out, "\nDIR is where the cluster lives: --dir, else $%s, else %s.\n", dirVariable, defaultDir())
}

// newFlags returns a flag set that knows --dir, which nearly every command takes.
func newFlags(name string) (flags *flag.FlagSet, dir *string) {
	flags = flag.NewFlagSet("cluster "+name, flag.ContinueOnError)
	fallback := os.Getenv(dirVariable)
	if fallback == "" {
		fallback = defaultDir()
	}
	return flags, flags.String("dir", fallback, "where the cluster lives")
}

// parse reads flags that may stand before, between and after the positional arguments. What follows "--" is
// returned untouched in rest.
func parse(flags *flag.FlagSet, args []string) (positional, rest []string, err error) {
	for i, arg := range args {
		if arg == "--" {
			args, rest = args[:i], args[i+1:]
			break
		}
	}
	for {
		if err := flags.Parse(args); err != nil {
			return nil, nil, err
		}
		if flags.NArg() == 0 {
			return positional, rest, nil
		}
		positional = append(positional, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

// pairs is a flag that may be given several times, each time as KEY=VALUE.
type pairs []string

func (p *pairs) String() string { return strings.Join(*p, " ") }

func (p *pairs) Set(value string) error {
	if key, _, ok := strings.Cut(value, "="); !ok || key == "" {
		return fmt.Errorf("%q is not of the form KEY=VALUE", value)
	}
	*p = append(*p, value)
	return nil
}
