// Command cpserver runs a real kube-apiserver on an embedded etcd, on loopback
// only, for tests: it creates the objects of the directories named by -load
// (CRDs, admission policies, ...), writes kubeconfigs, prints one READY line,
// and stops on SIGTERM, SIGINT or the end of its standard input, so that it
// never outlives the test that started it.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

var (
	dir   string // holds everything: etcd's data and sockets, keys, kubeconfigs
	ctx   = context.Background()
	start = time.Now()

	mutating bool // whether Calico's mutating admission policies were loaded
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "cpserver:", err)
		os.Exit(1)
	}
}

func must[T any](v T, err error) T { check(err); return v }

func note(format string, a ...any) {
	fmt.Fprintf(os.Stderr, "cpserver: %.2fs %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, a...))
}

func path(name string) string { return filepath.Join(dir, name) }

type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue writes NAME.crt and NAME.key, signed by c, or by itself when c is nil.
func (c *ca) issue(name, cn string, orgs ...string) *ca {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	t := &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))),
		Subject:      pkix.Name{CommonName: cn, Organization: orgs},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	if c == nil {
		t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, t.KeyUsage|x509.KeyUsageCertSign
		c = &ca{t, key}
	}
	der := must(x509.CreateCertificate(rand.Reader, t, c.cert, key.Public(), c.key))
	for ext, b := range map[string]*pem.Block{
		".crt": {Type: "CERTIFICATE", Bytes: der},
		".key": {Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(key))},
	} {
		check(os.WriteFile(path(name+ext), pem.EncodeToMemory(b), 0o600))
	}
	return &ca{must(x509.ParseCertificate(der)), key}
}

func writeKubeconfig(name, server, user string) {
	check(os.WriteFile(path(name), fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: t
contexts: [{name: t, context: {cluster: t, user: t}}]
clusters: [{name: t, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: t, user: %s}]
`, server, path("ca.crt"), user), 0o600))
}

func until(what string, f func(context.Context) (bool, error)) {
	if err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 2*time.Minute, true, f); err != nil {
		check(fmt.Errorf("%s: %w", what, err))
	}
}

// gather reads every object of the directories, in order. An object whose kind and
// name came before is laid over the earlier one, so that a directory can hold a variant.
func gather(dirs []string) (objects []*unstructured.Unstructured) {
	at := map[string]int{}
	for _, d := range dirs {
		files := must(filepath.Glob(filepath.Join(d, "*.yaml")))
		if len(files) == 0 {
			check(fmt.Errorf("no *.yaml in %s", d))
		}
		for _, f := range files {
			dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(must(os.ReadFile(f))), 4096)
			for {
				o := &unstructured.Unstructured{}
				err := dec.Decode(o)
				if err == io.EOF {
					break
				}
				if err != nil {
					check(fmt.Errorf("%s: %w", f, err))
				}
				if len(o.Object) == 0 {
					continue // a document of comments only
				}
				key := o.GroupVersionKind().String() + " " + o.GetNamespace() + "/" + o.GetName()
				if i, again := at[key]; again {
					objects[i].Object = overlay(objects[i].Object, o.Object).(map[string]any)
					continue
				}
				at[key] = len(objects)
				objects = append(objects, o)
			}
		}
	}
	return objects
}

// overlay lays b over a: maps key by key, lists element by element, anything else replaced.
func overlay(a, b any) any {
	switch b := b.(type) {
	case map[string]any:
		if a, ok := a.(map[string]any); ok {
			for k, v := range b {
				a[k] = overlay(a[k], v)
			}
			return a
		}
	case []any:
		if a, ok := a.([]any); ok {
			for i, v := range b {
				if i < len(a) {
					a[i] = overlay(a[i], v)
				} else {
					a = append(a, v)
				}
			}
			return a
		}
	}
	return b
}

// load creates the objects and waits until their CRDs serve lists: the first
// list of a custom resource is answered 429 "storage is (re)initializing".
func load(cfg *rest.Config, rc rest.Interface, objects []*unstructured.Unstructured) {
	dyn := must(dynamic.NewForConfig(cfg))
	mapper := restmapper.NewDiscoveryRESTMapper(must(restmapper.GetAPIGroupResources(discovery.NewDiscoveryClient(rc))))
	var lists []string
	for _, o := range objects {
		m := must(mapper.RESTMapping(o.GroupVersionKind().GroupKind(), o.GroupVersionKind().Version))
		var r dynamic.ResourceInterface = dyn.Resource(m.Resource)
		if m.Scope.Name() == meta.RESTScopeNameNamespace {
			r = dyn.Resource(m.Resource).Namespace(o.GetNamespace())
		}
		if _, err := r.Create(ctx, o, metav1.CreateOptions{FieldManager: "cpserver"}); err != nil {
			check(fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err))
		}
		mutating = mutating || o.GetKind() == "MutatingAdmissionPolicy"
		if o.GetKind() == "CustomResourceDefinition" {
			group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
			plural, _, _ := unstructured.NestedString(o.Object, "spec", "names", "plural")
			versions, _, _ := unstructured.NestedSlice(o.Object, "spec", "versions")
			for _, v := range versions {
				if v := v.(map[string]any); v["served"] == true {
					lists = append(lists, fmt.Sprintf("/apis/%s/%s/%s", group, v["name"], plural))
				}
			}
		}
	}
	for _, p := range lists {
		until(p, func(ctx context.Context) (bool, error) {
			return rc.Get().AbsPath(p).MaxRetries(0).Do(ctx).Error() == nil, nil
		})
	}
	note("%d objects loaded", len(objects))
}

func main() {
	loads := flag.String("load", "", "comma-separated directories of manifests to create; later ones are laid over earlier ones")
	var extra []string
	flag.Func("arg", "one more kube-apiserver flag, such as --v=2; may be repeated", func(a string) error {
		extra = append(extra, a)
		return nil
	})
	remove := flag.Bool("rm", false, "remove the state directory at exit")
	flag.StringVar(&dir, "dir", "", "state directory (default: a new temporary one, removed at exit)")
	flag.Parse()
	if dir == "" {
		dir, *remove = must(os.MkdirTemp("", "cpserver")), true
	}
	dir = must(filepath.Abs(dir))
	check(os.MkdirAll(dir, 0o700))
	objects := gather(strings.FieldsFunc(*loads, func(r rune) bool { return r == ',' }))
	check(os.Chdir(dir)) // the sockets' names are relative: a socket's whole path is 107 bytes at most

	root := (*ca)(nil).issue("ca", "cpserver-ca")
	root.issue("server", "kube-apiserver")
	root.issue("sa", "service-accounts")
	root.issue("front-proxy", "front-proxy") // towards aggregated API servers
	root.issue("admin", "admin", "system:masters")
	root.issue("reader", "reader", "cpserver:readers")
	check(os.WriteFile(path("tokens.csv"), []byte("admin-token,admin,1,system:masters\nreader-token,reader,2,cpserver:readers\nnobody-token,nobody,3\n"), 0o600))

	ec := embed.NewConfig()
	ec.Dir, ec.LogLevel, ec.UnsafeNoFsync = path("etcd"), "error", true
	ec.TickMs, ec.ElectionMs = 10, 100 // it elects itself at once, not after a second
	ec.ListenClientUrls = []url.URL{{Scheme: "unix", Host: "client.sock"}}
	ec.ListenPeerUrls = []url.URL{{Scheme: "unix", Host: "peer.sock"}}
	ec.AdvertiseClientUrls, ec.AdvertisePeerUrls = ec.ListenClientUrls, ec.ListenPeerUrls
	ec.InitialCluster = ec.InitialClusterFromName(ec.Name)
	etcd := must(embed.StartEtcd(ec))
	<-etcd.Server.ReadyNotify()
	note("etcd ready")

	l := must(net.Listen("tcp", "127.0.0.1:0"))
	addr := l.Addr().(*net.TCPAddr)
	check(l.Close())
	server := "https://" + addr.String()
	for _, u := range []string{"admin", "reader"} {
		writeKubeconfig(u+".kubeconfig", server, fmt.Sprintf("{client-certificate: %q, client-key: %q}", path(u+".crt"), path(u+".key")))
	}
	for _, u := range []string{"admin", "reader", "nobody"} {
		writeKubeconfig(u+"-token.kubeconfig", server, fmt.Sprintf("{token: %s-token}", u))
	}

	cmd := app.NewAPIServerCommand() // ends on SIGTERM and SIGINT by itself
	cmd.SetArgs(append([]string{
		"--etcd-servers=unix://client.sock", "--service-cluster-ip-range=10.96.0.0/16",
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", addr.Port),
		"--endpoint-reconciler-type=none", "--cert-dir=" + dir,
		"--tls-cert-file=server.crt", "--tls-private-key-file=server.key",
		"--client-ca-file=ca.crt", "--token-auth-file=tokens.csv", "--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=sa.key",
		"--service-account-signing-key-file=sa.key", "--disable-admission-plugins=ServiceAccount",
		"--proxy-client-cert-file=front-proxy.crt", "--proxy-client-key-file=front-proxy.key",
		"--requestheader-client-ca-file=ca.crt", "--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
	}, extra...))
	done := make(chan error, 1)
	go func() { done <- cmd.Execute() }()
	go func() { io.Copy(io.Discard, os.Stdin); genericapiserver.RequestShutdown() }()
	go func() {
		cfg := must(clientcmd.BuildConfigFromFlags("", path("admin.kubeconfig")))
		cfg.QPS = -1 // no client-side rate limit
		rc := must(discovery.NewDiscoveryClientForConfig(cfg)).RESTClient()
		until("readyz", func(ctx context.Context) (bool, error) {
			return rc.Get().AbsPath("/readyz").Do(ctx).Error() == nil, nil
		})
		note("apiserver ready")
		load(cfg, rc, objects)
		if mutating { // such policies act only some time after they are created
			until("tier label", func(ctx context.Context) (bool, error) {
				b, _ := rc.Post().AbsPath("/apis/projectcalico.org/v3/globalnetworkpolicies").Param("dryRun", "All").
					Body([]byte(`{"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkPolicy","metadata":{"name":"probe"},"spec":{}}`)).Do(ctx).Raw()
				return bytes.Contains(b, []byte(`"projectcalico.org/tier":"default"`)), nil // any error: not yet
			})
			note("mutating admission policies act")
		}
		fmt.Printf("READY %s %s\n", server, dir)
	}()
	err := <-done
	etcd.Close()
	if *remove {
		os.RemoveAll(dir)
	}
	check(err)
	note("stopped")
}
