// Command image makes the operator's container image without Docker: it builds the program for each architecture, packs
// the programs into an archive in the layout of the Open Container Initiative, and writes a bill of materials beside
// it. The same commit built by the same compilers gives the same digest. See ../../../../docs/image.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"microservice-operator/e2e/cluster/oci"
)

const usage = `usage: image build [--architectures amd64,arm64] [--repository NAME] [--output DIR]
           builds the operator, packs it and writes its bill of materials
       image doctor [--architectures amd64,arm64]
           says which compilers it takes, or what is missing
       image pack [--repository NAME] --output FILE PROGRAM
           packs a static program that is there, for this machine's architecture`

// program is the name of what the image holds, and of the crate.
const program = "microservice-operator"

func main() {
	if err := dispatch(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func dispatch(args []string) error {
	switch {
	case len(args) > 0 && args[0] == "build":
		return runBuild(args[1:])
	case len(args) > 0 && args[0] == "doctor":
		return runDoctor(args[1:])
	case len(args) > 0 && args[0] == "pack":
		return runPack(args[1:])
	default:
		return errors.New(usage)
	}
}

func runBuild(args []string) error {
	flags := flag.NewFlagSet("image build", flag.ContinueOnError)
	list := architecturesFlag(flags)
	repository := flags.String("repository", "localhost/"+program, "the name of the image without a tag")
	output := flags.String("output", "target/image", "where the archive and the bill of materials go")
	if err := flags.Parse(args); err != nil {
		return err
	}
	architectures, err := parseArchitectures(*list)
	if err != nil || flags.NArg() > 0 {
		return errors.Join(err, errors.New(usage))
	}
	source, err := readSource()
	if err != nil {
		return err
	}
	tools, err := chooseTools(source.root, architectures)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "image: %s, %s\n", tools.compiler, tools.origin)
	var programs []oci.Program
	for _, architecture := range architectures {
		path, err := tools.compile(source, architecture)
		if err != nil {
			return err
		}
		if err := try(architecture, path, source.version); err != nil {
			return err
		}
		programs = append(programs, oci.Program{Architecture: architecture, Path: path})
	}
	if err := os.MkdirAll(*output, 0o755); err != nil {
		return err
	}
	base := filepath.Join(*output, program+"-"+source.version)
	image := source.image(*repository, programs, oci.Gzip)
	image.Labels = append(image.Labels, "dev.microservice.image.compiler="+tools.compiler)
	digest, err := write(base+".oci.tar", image)
	if err != nil {
		return err
	}
	bill, err := billOfMaterials(source, tools, *repository, digest, architectures)
	if err != nil {
		return err
	}
	if err := os.WriteFile(base+".cdx.json", bill, 0o644); err != nil {
		return err
	}
	fmt.Println(base + ".oci.tar")
	fmt.Println(base + ".cdx.json")
	fmt.Println(*repository + "@" + digest)
	return nil
}

func architecturesFlag(flags *flag.FlagSet) *string {
	return flags.String("architectures", "amd64,arm64", "what it is for, separated by commas")
}

func parseArchitectures(list string) ([]string, error) {
	architectures := strings.Split(list, ",")
	for _, architecture := range architectures {
		if _, known := targets[architecture]; !known {
			return nil, fmt.Errorf("images are made for amd64 and arm64, not for %q", architecture)
		}
	}
	slices.Sort(architectures)
	return slices.Compact(architectures), nil
}

func runDoctor(args []string) error {
	flags := flag.NewFlagSet("image doctor", flag.ContinueOnError)
	list := architecturesFlag(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	architectures, err := parseArchitectures(*list)
	if err != nil || flags.NArg() > 0 {
		return errors.Join(err, errors.New(usage))
	}
	for _, program := range []string{"cargo", "git"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("this machine lacks %s", program)
		}
	}
	chosen, err := activeTools("", architectures)
	if err == nil {
		fmt.Printf("all there: %s, %s\n", chosen.compiler, chosen.origin)
		return nil
	}
	if problem := debianPossible(); problem != nil {
		return errors.Join(err, problem)
	}
	fmt.Printf("%v\nall there nevertheless: Debian's compilers are downloaded when they are needed\n", err)
	return nil
}

func runPack(args []string) error {
	flags := flag.NewFlagSet("image pack", flag.ContinueOnError)
	repository := flags.String("repository", "localhost/"+program, "the name of the image without a tag")
	output := flags.String("output", "", "the archive")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *output == "" || flags.NArg() != 1 {
		return errors.New(usage)
	}
	source, err := readSource()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(*output), 0o755); err != nil {
		return err
	}
	digest, err := write(*output, source.image(*repository, oci.Here(flags.Arg(0)), oci.Plain))
	if err != nil {
		return err
	}
	fmt.Println(*repository + "@" + digest)
	return nil
}

// write packs an image into an archive, which appears when it is whole.
func write(path string, image oci.Image) (digest string, err error) {
	archive, err := os.Create(path + ".new")
	if err != nil {
		return "", err
	}
	defer archive.Close()
	packing := oci.NewArchive(archive, oci.ByTag)
	if digest, err = packing.Add(image); err != nil {
		return "", err
	}
	if err := packing.Close(); err != nil {
		return "", err
	}
	return digest, os.Rename(path+".new", path)
}

// image describes the image of the operator.
func (s source) image(repository string, programs []oci.Program, compression oci.Compression) oci.Image {
	labels := []string{
		"title=" + program, "description=" + s.description, "version=" + s.version,
		"licenses=" + s.license, "created=" + s.created.Format(time.RFC3339), "revision=" + s.revision,
	}
	if s.repository != "" {
		labels = append(labels, "source="+s.repository)
	}
	for at := range labels {
		labels[at] = "org.opencontainers.image." + labels[at]
	}
	return oci.Image{
		Tags: []string{repository + ":" + s.version}, Programs: programs,
		Files:  []oci.File{{Name: "licenses/" + program + "/LICENSE", Content: s.licenseText}},
		Labels: labels, Created: s.created, Compression: compression,
	}
}
