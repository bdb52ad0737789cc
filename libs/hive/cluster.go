package hive

import (
	"encoding/json"
	"errors"

	v1 "github.com/syncsets/syncsets/libs/api/v1"
	"github.com/syncsets/syncsets/libs/manifest"
)

// kubeconfigKeys are where a Secret of Hive holds the admin kubeconfig: with the certificate authorities that Hive was told to add, and as
// the installer wrote it.
var kubeconfigKeys = []string{"kubeconfig", "raw-kubeconfig"}

// cluster converts a ClusterDeployment: its labels, which selectors see, and the kubeconfig that it names.
func (c *converter) cluster(d manifest.Document) {
	var from clusterDeployment
	var wrongType *json.UnmarshalTypeError
	if err := json.Unmarshal(d.JSON, &from); errors.As(err, &wrongType) {
		c.fault(below(d.Path, wrongType.Field), "has the wrong type")
		return
	}
	item := Item{Path: d.Path, Kind: v1.KindCluster, Cluster: &v1.Cluster{Metadata: from.Metadata.metadata(), Suspended: from.Metadata.paused()}}
	if item.Cluster.Suspended {
		item.warn("is suspended by its annotation %s", pauseAnnotation)
	}
	if text, ok := c.kubeconfig(d.Path, from); ok {
		item.Cluster.Kubeconfig = &text
		c.add(item)
	}
}

// kubeconfig finds the text that a ClusterDeployment names, and faults its absence.
func (c *converter) kubeconfig(path string, from clusterDeployment) (string, bool) {
	if from.Spec.ClusterMetadata == nil || from.Spec.ClusterMetadata.AdminKubeconfigSecretRef.Name == "" {
		c.fault(path+".spec.clusterMetadata.adminKubeconfigSecretRef.name", "is required: a cluster that is not installed has no kubeconfig")
		return "", false
	}
	name := from.Metadata.Namespace + "/" + from.Spec.ClusterMetadata.AdminKubeconfigSecretRef.Name
	found := c.kubeconfigs[name]
	if found == nil {
		c.fault(path+".spec.clusterMetadata.adminKubeconfigSecretRef.name", "names the Secret %s, which is not among the documents: add it", name)
		return "", false
	}
	for _, key := range kubeconfigKeys {
		if text, ok := found.value(key); ok && text != "" {
			c.wanted[name] = true
			return text, true
		}
	}
	c.fault(path+".spec.clusterMetadata.adminKubeconfigSecretRef.name", "names the Secret %s, which has no kubeconfig or raw-kubeconfig", name)
	return "", false
}
