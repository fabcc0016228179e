package main

// Packing static binaries as container images, in the layout of the Open Container Initiative.

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// imageUser is who the processes of an image run as: a number, so that Kubernetes can see that it is not root.
const imageUser = "65532"

// image is what is packed. The same settings and binary always give the same digest.
type image struct {
	// Tags are full names with a tag, such as registry.local/podinfo:1.0.0.
	Tags   []string
	Binary string
	Args   []string
	// Env and Labels are KEY=VALUE; each changes the digest.
	Env, Labels []string
}

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
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

const (
	indexType    = "application/vnd.oci.image.index.v1+json"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"

	// nameAnnotation is where containerd finds the name of an image.
	nameAnnotation = "io.containerd.image.name"
)

// bundle writes an archive of images. Blobs that images share are written once.
type bundle struct {
	archive *tar.Writer
	written map[string]bool
	layers  map[string]descriptor // by path of the binary
	index   index
}

func newBundle(out io.Writer) *bundle {
	return &bundle{
		archive: tar.NewWriter(out),
		written: map[string]bool{},
		layers:  map[string]descriptor{},
		index:   index{SchemaVersion: 2, MediaType: indexType},
	}
}

// add packs an image and returns its digest.
func (b *bundle) add(i image) (string, error) {
	layer, err := b.layer(i.Binary)
	if err != nil {
		return "", err
	}
	linux := platform{runtime.GOARCH, "linux"}
	settings := imageConfig{platform: linux}
	settings.Config.User = imageUser + ":" + imageUser
	settings.Config.Env = append([]string{"PATH=/"}, i.Env...)
	settings.Config.Entrypoint = []string{"/" + filepath.Base(i.Binary)}
	settings.Config.Cmd = i.Args
	settings.Config.WorkingDir = "/"
	for _, label := range i.Labels {
		if settings.Config.Labels == nil {
			settings.Config.Labels = map[string]string{}
		}
		key, value, _ := strings.Cut(label, "=")
		settings.Config.Labels[key] = value
	}
	settings.RootFS.Type = "layers"
	settings.RootFS.DiffIDs = []string{layer.Digest} // the layer is not compressed
	config, err := b.document(configType, settings)
	if err != nil {
		return "", err
	}
	entry, err := b.document(manifestType, manifest{2, manifestType, config, []descriptor{layer}})
	if err != nil {
		return "", err
	}
	entry.Platform = &linux
	for _, tag := range i.Tags {
		repository, err := repositoryOf(tag)
		if err != nil {
			return "", err
		}
		for _, name := range []string{tag, repository + "@" + entry.Digest} {
			named := entry
			named.Annotations = map[string]string{nameAnnotation: name}
			b.index.Manifests = append(b.index.Manifests, named)
		}
	}
	return entry.Digest, nil
}

// close writes the index and ends the archive.
func (b *bundle) close() error {
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

// layer packs a binary as a file system: the binary, a user and a /tmp that everyone may write to.
func (b *bundle) layer(binary string) (descriptor, error) {
	if known, ok := b.layers[binary]; ok {
		return known, nil
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		return descriptor{}, fmt.Errorf("cannot pack an image: %w", err)
	}
	if err := checkStatic(binary); err != nil {
		return descriptor{}, err
	}
	var data bytes.Buffer
	files := tar.NewWriter(&data)
	users := fmt.Sprintf("root:x:0:0::/:\napp:x:%s:%s::/:\n", imageUser, imageUser)
	err = errors.Join(
		addDirectory(files, "tmp/", 0o1777),
		addDirectory(files, "etc/", 0o755),
		addFile(files, "etc/passwd", 0o644, []byte(users)),
		addFile(files, filepath.Base(binary), 0o755, program),
		files.Close())
	if err != nil {
		return descriptor{}, err
	}
	b.layers[binary], err = b.blob(layerType, data.Bytes())
	return b.layers[binary], err
}

func (b *bundle) document(mediaType string, content any) (descriptor, error) {
	data, err := json.Marshal(content)
	if err != nil {
		return descriptor{}, err
	}
	return b.blob(mediaType, data)
}

func (b *bundle) blob(mediaType string, data []byte) (descriptor, error) {
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	d := descriptor{MediaType: mediaType, Digest: "sha256:" + name, Size: len(data)}
	if b.written[name] {
		return d, nil
	}
	b.written[name] = true
	return d, addFile(b.archive, "blobs/sha256/"+name, 0o644, data)
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

// repositoryOf returns a tag without what follows its last colon.
func repositoryOf(tag string) (string, error) {
	colon := strings.LastIndexByte(tag, ':')
	if colon <= strings.LastIndexByte(tag, '/') || colon == len(tag)-1 || !strings.Contains(tag, "/") {
		return "", fmt.Errorf("%q is no full name of an image: give one such as registry.local/name:1.0.0", tag)
	}
	return tag[:colon], nil
}
