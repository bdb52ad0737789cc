// Command kube is a small Kubernetes control plane in one binary: etcd, kube-apiserver and kube-controller-manager, chosen by the
// first argument. Tests and `make demo` run it as real targets where no container engine and no KUBEBUILDER_ASSETS are at hand.
//
//	kube etcd --data-dir DIR --client-url http://127.0.0.1:PORT --peer-url http://127.0.0.1:PORT
//	kube kube-apiserver [flags of kube-apiserver]
//	kube kube-controller-manager [flags of kube-controller-manager]
//	kube version
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/component-base/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	os.Exit(run(os.Args))
}

// run starts the part named by args[1] with the remaining arguments and returns the process's exit code.
func run(args []string) int {
	if len(args) < 2 {
		return usage()
	}
	part := args[1]
	os.Args = append([]string{part}, args[2:]...)
	switch part {
	case "etcd":
		return serveEtcd(args[2:])
	case "kube-apiserver":
		return start(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		return start(controllers.NewControllerManagerCommand())
	case "version":
		fmt.Println(version.Get().GitVersion)
		return 0
	}
	return usage()
}

func start(command *cobra.Command) int {
	return cli.Run(command)
}

func usage() int {
	fmt.Fprintln(os.Stderr, "usage: kube etcd|kube-apiserver|kube-controller-manager [flags] | kube version")
	return 2
}
