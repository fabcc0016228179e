// Package oci packs static programs as container images, in the layout of the Open Container Initiative.
package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// User is who the processes of an image run as: a number, so that Kubernetes can see that it is not root.
const User = "65532"

// Image is what is packed. The same settings and programs always give the same digest.
type Image struct {
	// Tags are full names with a tag, such as registry.local/podinfo:1.0.0.
	Tags []string
	// Programs are the same program for each architecture that the image is for, all of the same file name.
	Programs []Program
	// Files are beside the program, for all architectures.
	Files []File
	Args  []string
	// Env and Labels are KEY=VALUE; each changes the digest. Labels that the Open Container Initiative defines are
	// annotations too, which registries show.
	Env, Labels []string
	// Created is what the image says of its age; the zero value leaves it out. Files in it are of 1970 anyway.
	Created     time.Time
	Compression Compression
}

// Program is an executable file for an architecture, in Go's words: amd64, arm64.
type Program struct{ Architecture, Path string }

// File is a file of an image; its name is without the leading slash.
type File struct {
	Name    string
	Content []byte
}

// Compression is what is done to the layers.
type Compression int

const (
	// Plain layers are read fastest: right for what is loaded on the same machine.
	Plain Compression = iota
	// Gzip is for registries.
	Gzip
)

// Naming is the names that containerd gives the images of an archive when it imports it.
type Naming int

const (
	// ByTag is their tags. Tools that copy archives to registries want no more.
	ByTag Naming = iota
	// ByTagAndDigest is a name with the digest too, which a pod may use instead of the tag.
	ByTagAndDigest
)

// Here is a program for this machine's architecture.
func Here(path string) []Program { return []Program{{runtime.GOARCH, path}} }

// descriptor refers to a blob, or in the index to an image.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type imageConfig struct {
	Created string `json:"created,omitempty"`
	platform
	Config struct {
		User       string            `json:"User"`
		Env        []string          `json:"Env"`
		Entrypoint []string          `json:"Entrypoint"`
		Cmd        []string          `json:"Cmd,omitempty"`
		WorkingDir string            `json:"WorkingDir"`
		Labels     map[string]string `json:"Labels,omitempty"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"

	// nameAnnotation is where containerd finds the name of an image, tagAnnotation where others find its tag.
	nameAnnotation = "io.containerd.image.name"
	tagAnnotation  = "org.opencontainers.image.ref.name"

	// definedLabels is what the labels begin with that the Open Container Initiative defines.
	definedLabels = "org.opencontainers.image."
)

// Archive is a file of images. Blobs that images share are written once.
type Archive struct {
	naming  Naming
	archive *tar.Writer
	written map[string]bool
	layers  map[string]layer
	index   index
}

// layer is a blob, and the digest of what is in it before compression.
type layer struct {
	descriptor
	plain string
}

// NewArchive begins an archive.
func NewArchive(out io.Writer, naming Naming) *Archive {
	return &Archive{
		naming:  naming,
		archive: tar.NewWriter(out),
		written: map[string]bool{},
		layers:  map[string]layer{},
		index:   index{SchemaVersion: 2, MediaType: indexType},
	}
}

// Add packs an image and returns its digest: that of the index where it is for several architectures.
func (b *Archive) Add(i Image) (string, error) {
	labels := i.labels()
	annotations := map[string]string{}
	for key, value := range labels {
		if strings.HasPrefix(key, definedLabels) {
			annotations[key] = value
		}
	}
	if len(i.Programs) == 0 {
		return "", errors.New("an image takes a program")
	}
	whole := index{SchemaVersion: 2, MediaType: indexType, Annotations: annotations}
	for _, program := range i.Programs {
		if filepath.Base(program.Path) != filepath.Base(i.Programs[0].Path) {
			return "", fmt.Errorf("the programs %s and %s of one image have different names", i.Programs[0].Path, program.Path)
		}
		entry, err := b.manifest(i, program, labels, annotations)
		if err != nil {
			return "", err
		}
		whole.Manifests = append(whole.Manifests, entry)
	}
	entry := whole.Manifests[0]
	if len(whole.Manifests) > 1 {
		var err error
		if entry, err = b.document(indexType, whole); err != nil {
			return "", err
		}
	}
	for _, tag := range i.Tags {
		repository, err := RepositoryOf(tag)
		if err != nil {
			return "", err
		}
		names := []string{tag}
		if b.naming == ByTagAndDigest {
			names = append(names, repository+"@"+entry.Digest)
		}
		for _, name := range names {
			named := entry
			named.Annotations = map[string]string{nameAnnotation: name}
			if name == tag {
				named.Annotations[tagAnnotation] = tag[len(repository)+1:]
			}
			b.index.Manifests = append(b.index.Manifests, named)
		}
	}
	return entry.Digest, nil
}

func (i Image) labels() map[string]string {
	if len(i.Labels) == 0 {
		return nil
	}
	labels := map[string]string{}
	for _, label := range i.Labels {
		key, value, _ := strings.Cut(label, "=")
		labels[key] = value
	}
	return labels
}

// manifest packs an image for one architecture.
func (b *Archive) manifest(i Image, program Program, labels, annotations map[string]string) (descriptor, error) {
	layer, err := b.layer(i, program)
	if err != nil {
		return descriptor{}, err
	}
	linux := platform{program.Architecture, "linux"}
	settings := imageConfig{platform: linux}
	if !i.Created.IsZero() {
		settings.Created = i.Created.UTC().Format(time.RFC3339)
	}
	settings.Config.User = User + ":" + User
	settings.Config.Env = append([]string{"PATH=/"}, i.Env...)
	settings.Config.Entrypoint = []string{"/" + filepath.Base(program.Path)}
	settings.Config.Cmd = i.Args
	settings.Config.WorkingDir = "/"
	settings.Config.Labels = labels
	settings.RootFS.Type = "layers"
	settings.RootFS.DiffIDs = []string{layer.plain}
	config, err := b.document(configType, settings)
	if err != nil {
		return descriptor{}, err
	}
	entry, err := b.document(manifestType, manifest{2, manifestType, config, []descriptor{layer.descriptor}, annotations})
	entry.Platform = &linux
	return entry, err
}

// Close writes the index and ends the archive.
func (b *Archive) Close() error {
	data, err := json.Marshal(b.index)
	if err != nil {
		return err
	}
	if err := addFile(b.archive, "index.json", 0o644, data); err != nil {
		return err
	}
	if err := addFile(b.archive, "oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	return b.archive.Close()
}

// layer packs a program as a file system: the program, a user, the image's files, and a /tmp that everyone may write to.
func (b *Archive) layer(i Image, program Program) (layer, error) {
	key := fmt.Sprintf("%q %d %q", program, i.Compression, i.Files)
	if known, ok := b.layers[key]; ok {
		return known, nil
	}
	executable, err := os.ReadFile(program.Path)
	if err != nil {
		return layer{}, fmt.Errorf("cannot pack an image: %w", err)
	}
	if err := checkProgram(program); err != nil {
		return layer{}, err
	}
	var data bytes.Buffer
	files := tar.NewWriter(&data)
	users := fmt.Sprintf("root:x:0:0::/:\napp:x:%s:%s::/:\n", User, User)
	err = errors.Join(
		addDirectory(files, "tmp/", 0o1777),
		addDirectory(files, "etc/", 0o755),
		addFile(files, "etc/passwd", 0o644, []byte(users)),
		addFiles(files, i.Files),
		addFile(files, filepath.Base(program.Path), 0o755, executable),
		files.Close())
	if err != nil {
		return layer{}, err
	}
	packed := layer{plain: digest(data.Bytes())}
	switch i.Compression {
	case Plain:
		packed.descriptor, err = b.blob(layerType, data.Bytes())
	case Gzip:
		var small bytes.Buffer
		// The header names no file and no time.
		compressor, _ := gzip.NewWriterLevel(&small, gzip.BestCompression)
		if _, err := compressor.Write(data.Bytes()); err != nil {
			return layer{}, err
		}
		if err := compressor.Close(); err != nil {
			return layer{}, err
		}
		packed.descriptor, err = b.blob(layerType+"+gzip", small.Bytes())
	default:
		err = fmt.Errorf("there is no compression %d", i.Compression)
	}
	b.layers[key] = packed
	return packed, err
}

// addFiles adds files in the order of their names, with their directories before them.
func addFiles(archive *tar.Writer, files []File) error {
	made := map[string]bool{"etc/": true, "tmp/": true}
	sorted := slices.SortedFunc(slices.Values(files), func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	for _, file := range sorted {
		if !filepath.IsLocal(file.Name) || path.Clean(file.Name) != file.Name {
			return fmt.Errorf("%q is no name of a file in an image: give it from the root on, without a leading slash", file.Name)
		}
		for at, letter := range file.Name {
			if directory := file.Name[:at] + "/"; letter == '/' && !made[directory] {
				made[directory] = true
				if err := addDirectory(archive, directory, 0o755); err != nil {
					return err
				}
			}
		}
		if err := addFile(archive, file.Name, 0o644, file.Content); err != nil {
			return err
		}
	}
	return nil
}

func (b *Archive) document(mediaType string, content any) (descriptor, error) {
	data, err := json.Marshal(content)
	if err != nil {
		return descriptor{}, err
	}
	return b.blob(mediaType, data)
}

func (b *Archive) blob(mediaType string, data []byte) (descriptor, error) {
	d := descriptor{MediaType: mediaType, Digest: digest(data), Size: len(data)}
	if b.written[d.Digest] {
		return d, nil
	}
	b.written[d.Digest] = true
	return d, addFile(b.archive, "blobs/"+strings.Replace(d.Digest, ":", "/", 1), 0o644, data)
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func addFile(archive *tar.Writer, name string, permissions int64, data []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: permissions, Size: int64(len(data)), ModTime: time.Unix(0, 0)}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(data)
	return err
}

func addDirectory(archive *tar.Writer, name string, permissions int64) error {
	return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: permissions, ModTime: time.Unix(0, 0)})
}

// RepositoryOf returns a tag without what follows its last colon.
func RepositoryOf(tag string) (string, error) {
	colon := strings.LastIndexByte(tag, ':')
	if colon <= strings.LastIndexByte(tag, '/') || colon == len(tag)-1 || !strings.Contains(tag, "/") {
		return "", fmt.Errorf("%q is no full name of an image: give one such as registry.local/name:1.0.0", tag)
	}
	return tag[:colon], nil
}
