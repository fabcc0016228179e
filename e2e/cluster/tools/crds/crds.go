// Package crds imports a small package of every module whose CustomResourceDefinitions the cluster serves, only so
// that `go mod tidy` keeps their versions in go.mod.
package crds

import (
	_ "github.com/prometheus-operator/prometheus-operator/pkg/versionutil"
	_ "sigs.k8s.io/gateway-api/pkg/consts"
)
