package main

// The certificate authorities of a cluster and the certificates that they issue.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime of every certificate: a cluster of tests is not meant to live longer.
const lifetime = 365 * 24 * time.Hour

// authority can issue certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// identity is what a certificate says of its holder. With addresses or names it is good for a server too.
type identity struct {
	name      string
	groups    []string
	dnsNames  []string
	addresses []string
}

// keyPair is a certificate and its key, each PEM-encoded.
type keyPair struct {
	certificate, key []byte
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate(identity{name: name})
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &authority{certificate, key}, err
}

// issue makes a key and a certificate for it.
func (a *authority) issue(id identity) (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, err
	}
	template, err := newTemplate(id)
	if err != nil {
		return keyPair{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(id.dnsNames)+len(id.addresses) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return keyPair{}, fmt.Errorf("cannot issue a certificate for %s: %w", id.name, err)
	}
	encoded, err := encodeKey(key)
	return keyPair{encodeCertificate(der), encoded}, err
}

func (a *authority) pair() (keyPair, error) {
	encoded, err := encodeKey(a.key)
	return keyPair{encodeCertificate(a.certificate.Raw), encoded}, err
}

func newTemplate(id identity) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: id.name, Organization: id.groups},
		NotBefore:    time.Now().Add(-time.Hour), // clocks differ, and pods may live in other time
		NotAfter:     time.Now().Add(lifetime),
		DNSNames:     id.dnsNames,
	}
	for _, address := range id.addresses {
		ip := net.ParseIP(address)
		if ip == nil {
			return nil, fmt.Errorf("%q is no IP address", address)
		}
		template.IPAddresses = append(template.IPAddresses, ip)
	}
	return template, nil
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// write puts the pair into dir as NAME.crt and NAME.key.
func (p keyPair) write(dir, name string) error {
	if err := os.WriteFile(filepath.Join(dir, name+".crt"), p.certificate, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".key"), p.key, 0o600)
}

// loadAuthority reads what write wrote for an authority.
func loadAuthority(dir, name string) (*authority, error) {
	certificate, err := readPEM(filepath.Join(dir, name+".crt"))
	if err != nil {
		return nil, err
	}
	key, err := readPEM(filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, err
	}
	var a authority
	if a.certificate, err = x509.ParseCertificate(certificate); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name+".crt"), err)
	}
	if a.key, err = x509.ParseECPrivateKey(key); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name+".key"), err)
	}
	return &a, nil
}

func readPEM(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	return block.Bytes, nil
}

// clientIdentities are the users that the components and the administrator act as, by the name of their kubeconfig.
func clientIdentities() map[string]identity {
	return map[string]identity{
		"admin":              {name: "admin", groups: []string{"system:masters"}},
		"controller-manager": {name: "system:kube-controller-manager"},
		"scheduler":          {name: "system:kube-scheduler"},
		"proxy":              {name: "system:kube-proxy"},
		"kubelet":            {name: "system:node:" + nodeName, groups: []string{"system:nodes"}},
	}
}

// serverIdentities are the certificates that the components show, by the name of their file. The kubelet client is
// among them because the API server finds it in a file too.
func serverIdentities() map[string]identity {
	return map[string]identity{
		"apiserver": {
			name: "kube-apiserver",
			dnsNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc.cluster.local"},
			addresses: []string{"127.0.0.1", kubernetesServiceAddress, nodeAddress},
		},
		"node":           {name: "system:node:" + nodeName, groups: []string{"system:nodes"}, dnsNames: []string{nodeName}, addresses: []string{"127.0.0.1", nodeAddress}},
		"kubelet-client": {name: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
	}
}

// writePKI makes the authorities, certificates and kubeconfigs of a cluster whose API server is at server.
func writePKI(l layout, server string) error {
	ca, err := newAuthority("cluster-ca")
	if err != nil {
		return err
	}
	caPair, err := ca.pair()
	if err != nil {
		return err
	}
	if err := caPair.write(l.pki(), "ca"); err != nil {
		return err
	}
	for name, id := range serverIdentities() {
		pair, err := ca.issue(id)
		if err != nil {
			return err
		}
		if err := pair.write(l.pki(), name); err != nil {
			return err
		}
	}
	for name, id := range clientIdentities() {
		pair, err := ca.issue(id)
		if err != nil {
			return err
		}
		if err := os.WriteFile(l.userConfig(name), renderKubeconfig(server, id.name, caPair.certificate, pair), 0o600); err != nil {
			return err
		}
	}
	if err := os.Rename(l.userConfig("admin"), l.kubeconfig()); err != nil {
		return err
	}
	if err := writeFrontProxy(l.pki()); err != nil {
		return err
	}
	return writeServiceAccountKeys(l.pki())
}

// writeFrontProxy makes the authority and certificate with which the API server speaks for a user to an aggregated
// API server. It must not be the authority of the clients.
func writeFrontProxy(dir string) error {
	ca, err := newAuthority("front-proxy-ca")
	if err != nil {
		return err
	}
	caPair, err := ca.pair()
	if err != nil {
		return err
	}
	if err := caPair.write(dir, "front-proxy-ca"); err != nil {
		return err
	}
	pair, err := ca.issue(identity{name: frontProxyName})
	if err != nil {
		return err
	}
	return pair.write(dir, "front-proxy-client")
}

// writeServiceAccountKeys makes the key that signs the tokens of service accounts, and its public half.
func writeServiceAccountKeys(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := encodeKey(key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	if err := os.WriteFile(filepath.Join(dir, "service-account.pub"), public, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "service-account.key"), private, 0o600)
}
