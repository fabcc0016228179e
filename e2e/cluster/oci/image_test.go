package oci

// Tests of the images: the same input gives the same bytes, and what is in them is what containerd expects.

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// staticBinary returns the path of a small static program.
func staticBinary(t *testing.T) string {
	t.Helper()
	return programFor(t, runtime.GOARCH).Path
}

// programFor returns a small static program for an architecture.
func programFor(t *testing.T, architecture string) Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pause")
	build := exec.Command("go", "build", "-o", path, "../pause")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+architecture)
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return Program{architecture, path}
}

// packed returns an archive of the images and their digests.
func packed(t *testing.T, images ...Image) (data []byte, digests []string) {
	t.Helper()
	var out bytes.Buffer
	b := NewArchive(&out, ByTagAndDigest)
	for _, i := range images {
		digest, err := b.Add(i)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), digests
}

// unpacked returns the files of an archive and fails the test if one is there twice.
func unpacked(t *testing.T, data []byte) (files map[string][]byte, headers map[string]*tar.Header) {
	t.Helper()
	files, headers = map[string][]byte{}, map[string]*tar.Header{}
	archive := tar.NewReader(bytes.NewReader(data))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, headers
		}
		if err != nil {
			t.Fatal(err)
		}
		if headers[header.Name] != nil {
			t.Errorf("%s is in the archive twice", header.Name)
		}
		headers[header.Name] = header
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

func decode[T any](t *testing.T, data []byte) (value T) {
	t.Helper()
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return value
}

func TestImageIsDeterministic(t *testing.T) {
	binary := staticBinary(t)
	i := Image{Tags: []string{"registry.local/a:1"}, Programs: Here(binary), Env: []string{"A=1"}, Labels: []string{"x=1", "y=2"}}
	first, _ := packed(t, i)
	second, _ := packed(t, i)
	if !bytes.Equal(first, second) {
		t.Error("the same image was packed into different bytes")
	}
}

func TestImageIsValid(t *testing.T) {
	binary := staticBinary(t)
	data, digests := packed(t,
		Image{Tags: []string{"registry.local/a:1", "registry.local/a:2"}, Programs: Here(binary), Args: []string{"--flag"}},
		Image{Tags: []string{"registry.local/a:3"}, Programs: Here(binary), Labels: []string{"version=3"}})
	files, _ := unpacked(t, data)
	blob := func(d descriptor) []byte {
		content, ok := files["blobs/"+strings.Replace(d.Digest, ":", "/", 1)]
		if !ok {
			t.Fatalf("the blob %s is missing", d.Digest)
		}
		if sum := sha256.Sum256(content); "sha256:"+hex.EncodeToString(sum[:]) != d.Digest || len(content) != d.Size {
			t.Errorf("the blob %s does not match its descriptor", d.Digest)
		}
		return content
	}
	names := map[string]string{}
	for _, entry := range decode[index](t, files["index.json"]).Manifests {
		names[entry.Annotations[nameAnnotation]] = entry.Digest
	}
	for name, digest := range map[string]string{
		"registry.local/a:1": digests[0], "registry.local/a:2": digests[0], "registry.local/a:3": digests[1],
		"registry.local/a@" + digests[0]: digests[0], "registry.local/a@" + digests[1]: digests[1],
	} {
		if names[name] != digest {
			t.Errorf("%s has digest %q, want %q", name, names[name], digest)
		}
	}
	m := decode[manifest](t, blob(decode[index](t, files["index.json"]).Manifests[0]))
	c := decode[imageConfig](t, blob(m.Config))
	if c.Config.User != "65532:65532" {
		t.Errorf("user %q: Kubernetes cannot see that it is not root", c.Config.User)
	}
	if strings.Join(c.Config.Entrypoint, " ") != "/pause" || strings.Join(c.Config.Cmd, " ") != "--flag" {
		t.Errorf("entrypoint %q, arguments %q", c.Config.Entrypoint, c.Config.Cmd)
	}
	if c.RootFS.DiffIDs[0] != m.Layers[0].Digest {
		t.Error("the layer of the configuration is not that of the manifest")
	}
	content, headers := unpacked(t, blob(m.Layers[0]))
	if want, _ := os.ReadFile(binary); !bytes.Equal(content["pause"], want) || headers["pause"].Mode != 0o755 {
		t.Error("the binary is not in the layer as it was")
	}
	if tmp := headers["tmp/"]; tmp == nil || tmp.Mode != 0o1777 {
		t.Errorf("/tmp is not for everyone to write to: %+v", tmp)
	}
}

func TestEnvironmentAndLabelsChangeTheDigest(t *testing.T) {
	binary := staticBinary(t)
	tags := []string{"registry.local/a:1"}
	_, digests := packed(t, Image{Tags: tags, Programs: Here(binary)},
		Image{Tags: tags, Programs: Here(binary), Env: []string{"A=1"}},
		Image{Tags: tags, Programs: Here(binary), Labels: []string{"A=1"}},
		Image{Tags: tags, Programs: Here(binary), Labels: []string{"A=2"}})
	seen := map[string]bool{}
	for _, digest := range digests {
		if seen[digest] {
			t.Errorf("two of the images have the digest %s", digest)
		}
		seen[digest] = true
	}
}

func TestDynamicBinaryIsRefused(t *testing.T) {
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Skip("no /bin/sh here")
	}
	if checkProgram(Here(shell)[0]) == nil {
		t.Skip("/bin/sh is static here")
	}
	_, err = NewArchive(io.Discard, ByTag).Add(Image{Tags: []string{"registry.local/a:1"}, Programs: Here(shell)})
	if err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("error %v does not say how to link statically", err)
	}
}

func TestRepositoryOf(t *testing.T) {
	if repository, err := RepositoryOf("localhost:5000/a/b:1"); err != nil || repository != "localhost:5000/a/b" {
		t.Errorf("%q, %v", repository, err)
	}
	for _, tag := range []string{"podinfo:1", "registry.local/podinfo", "localhost:5000/podinfo", "registry.local/podinfo:"} {
		if _, err := RepositoryOf(tag); err == nil {
			t.Errorf("%q passes for a full name", tag)
		}
	}
}

func TestImageForSeveralArchitectures(t *testing.T) {
	i := Image{
		Tags:     []string{"registry.local/a:1"},
		Programs: []Program{programFor(t, "amd64"), programFor(t, "arm64")},
		Files:    []File{{"licenses/LICENSE", []byte("text")}, {"a", nil}},
		Labels:   []string{"org.opencontainers.image.version=1", "other=2"},
		Created:  time.Unix(1000, 0), Compression: Gzip,
	}
	data, digests := packed(t, i)
	again, _ := packed(t, i)
	if !bytes.Equal(data, again) {
		t.Error("the same image was packed into different bytes")
	}
	files, _ := unpacked(t, data)
	blob := func(d descriptor) []byte { return files["blobs/"+strings.Replace(d.Digest, ":", "/", 1)] }
	entry := decode[index](t, files["index.json"]).Manifests[0]
	if entry.Digest != digests[0] || entry.MediaType != indexType || entry.Annotations[tagAnnotation] != "1" {
		t.Errorf("the entry of the image is %+v", entry)
	}
	whole := decode[index](t, blob(entry))
	if len(whole.Manifests) != 2 || len(whole.Annotations) != 1 {
		t.Fatalf("the index of the image is %+v", whole)
	}
	for at, architecture := range []string{"amd64", "arm64"} {
		if whole.Manifests[at].Platform.Architecture != architecture {
			t.Errorf("manifest %d is for %+v, want %s", at, whole.Manifests[at].Platform, architecture)
		}
		m := decode[manifest](t, blob(whole.Manifests[at]))
		c := decode[imageConfig](t, blob(m.Config))
		if c.Architecture != architecture || c.Created != "1970-01-01T00:16:40Z" || c.Config.Labels["other"] != "2" {
			t.Errorf("the configuration for %s is %+v", architecture, c)
		}
		if len(m.Annotations) != 1 || m.Annotations["org.opencontainers.image.version"] != "1" {
			t.Errorf("the annotations are %v", m.Annotations)
		}
		reader, err := gzip.NewReader(bytes.NewReader(blob(m.Layers[0])))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		if digest(plain) != c.RootFS.DiffIDs[0] {
			t.Error("the digest of the uncompressed layer is not that of the configuration")
		}
		content, headers := unpacked(t, plain)
		if string(content["licenses/LICENSE"]) != "text" || headers["licenses/"] == nil {
			t.Errorf("the files of the layer are %v", headers)
		}
		if want, _ := os.ReadFile(i.Programs[at].Path); !bytes.Equal(content["pause"], want) {
			t.Errorf("the program for %s is not in its layer", architecture)
		}
	}
}

func TestProgramForAnotherArchitectureIsRefused(t *testing.T) {
	wrong := Program{"amd64", programFor(t, "arm64").Path}
	_, err := NewArchive(io.Discard, ByTag).Add(Image{Tags: []string{"registry.local/a:1"}, Programs: []Program{wrong}})
	if err == nil || !strings.Contains(err.Error(), "not for amd64") {
		t.Errorf("the error is %v", err)
	}
}

func TestFilesCannotLeaveTheImage(t *testing.T) {
	for _, name := range []string{"/etc/shadow", "../a", "a/../b", ""} {
		i := Image{Tags: []string{"registry.local/a:1"}, Programs: Here(staticBinary(t)), Files: []File{{Name: name}}}
		if _, err := NewArchive(io.Discard, ByTag).Add(i); err == nil {
			t.Errorf("a file %q was taken", name)
		}
	}
}
