package main

// Kubeconfigs: rendering them, and making one for another user.

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
)

const kubeconfigTemplate = `apiVersion: v1
kind: Config
clusters:
- name: cluster
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: %q
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: cluster
  context: {cluster: cluster, user: %q}
current-context: cluster
`

// renderKubeconfig returns a kubeconfig that refers to no other file, so that it can be copied.
func renderKubeconfig(server, user string, ca []byte, pair keyPair) []byte {
	encode := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, kubeconfigTemplate, server, encode(ca), user, encode(pair.certificate), encode(pair.key), user)
}

// runUser prints a kubeconfig with a certificate for a user and its groups; what the user may do is for RBAC to say.
func runUser(args []string) error {
	flags, dir := newFlags("user")
	positional, _, err := parse(flags, args)
	if err != nil {
		return err
	}
	if len(positional) == 0 {
		return errors.New("usage: cluster user [--dir DIR] NAME [GROUP...]")
	}
	l, err := newLayout(*dir)
	if err != nil {
		return err
	}
	c, err := readConfig(l)
	if err != nil {
		return err
	}
	ca, err := loadAuthority(l.pki(), "ca")
	if err != nil {
		return err
	}
	pair, err := ca.issue(identity{name: positional[0], groups: positional[1:]})
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(renderKubeconfig(c.server(), positional[0], encodeCertificate(ca.certificate.Raw), pair))
	return err
}
