package main

// Tests of the certificates: whom they are for, what they are good for, and that they check out.

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func parseCertificate(t *testing.T, data []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatalf("no PEM block in %q", data)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// laidPKI returns a directory with all certificates of a cluster.
func laidPKI(t *testing.T) layout {
	t.Helper()
	l := layout(t.TempDir())
	if err := os.Mkdir(l.pki(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writePKI(l, "https://127.0.0.1:6443"); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestServerCertificateOfAPIServer(t *testing.T) {
	l := laidPKI(t)
	data, err := os.ReadFile(filepath.Join(l.pki(), "apiserver.crt"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := loadAuthority(l.pki(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	certificate := parseCertificate(t, data)
	roots := x509.NewCertPool()
	roots.AddCert(ca.certificate)
	for _, name := range []string{"127.0.0.1", "192.0.2.1", "10.96.0.1", "localhost", "kubernetes.default.svc"} {
		if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("a client that calls %s would refuse the API server: %v", name, err)
		}
	}
	if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots, DNSName: "192.0.2.2"}); err == nil {
		t.Error("the certificate is good for addresses that are not the API server's")
	}
}

func TestIdentitiesOfComponents(t *testing.T) {
	l := laidPKI(t)
	for file, want := range map[string]struct{ name, group string }{
		"kubeconfig":                    {"admin", "system:masters"},
		"kubelet.kubeconfig":            {"system:node:node-1", "system:nodes"},
		"controller-manager.kubeconfig": {"system:kube-controller-manager", ""},
		"scheduler.kubeconfig":          {"system:kube-scheduler", ""},
		"proxy.kubeconfig":              {"system:kube-proxy", ""},
	} {
		t.Run(file, func(t *testing.T) {
			data, err := os.ReadFile(l.in(file))
			if err != nil {
				t.Fatal(err)
			}
			part := func(field string) []byte {
				found := regexp.MustCompile(field + `: (\S+)`).FindSubmatch(data)
				if found == nil {
					t.Fatalf("no %s in\n%s", field, data)
				}
				decoded, err := base64.StdEncoding.DecodeString(string(found[1]))
				if err != nil {
					t.Fatal(err)
				}
				return decoded
			}
			if _, err := tls.X509KeyPair(part("client-certificate-data"), part("client-key-data")); err != nil {
				t.Errorf("key and certificate do not match: %v", err)
			}
			certificate := parseCertificate(t, part("client-certificate-data"))
			if certificate.Subject.CommonName != want.name {
				t.Errorf("name %q, want %q", certificate.Subject.CommonName, want.name)
			}
			if groups := strings.Join(certificate.Subject.Organization, ","); groups != want.group {
				t.Errorf("groups %q, want %q", groups, want.group)
			}
			if slices.Contains(certificate.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
				t.Error("a client's certificate is good for a server")
			}
		})
	}
}

func TestFrontProxyHasAnAuthorityOfItsOwn(t *testing.T) {
	l := laidPKI(t)
	clients, err := loadAuthority(l.pki(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(l.pki(), "front-proxy-client.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(clients.certificate)
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if _, err := parseCertificate(t, data).Verify(x509.VerifyOptions{Roots: roots, KeyUsages: usage}); err == nil {
		t.Error("the front proxy's certificate passes for a client's: whoever has it could act as anyone")
	}
}

func TestLoadAuthorityNamesTheBrokenFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("rubbish"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := loadAuthority(dir, "ca"); err == nil || !strings.Contains(err.Error(), "ca.crt") {
		t.Errorf("error %v does not name ca.crt", err)
	}
}
