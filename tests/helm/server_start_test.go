//go:build server

package helm

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// server is a real kube-apiserver with a real etcd: no kubelet and no controller, so that nothing runs, but everything is judged.
type server struct {
	typed    *clientset.Clientset
	dynamic  *dynamic.DynamicClient
	mapper   *restmapper.DeferredDiscoveryRESTMapper
	warnings warnings
}

// warnings are what the server says besides its answers.
type warnings struct {
	lock sync.Mutex
	said []string
}

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.said = append(w.said, text)
}

// taken are the warnings since the last call.
func (w *warnings) taken() []string {
	w.lock.Lock()
	defer w.lock.Unlock()
	said := w.said
	w.said = nil
	return said
}

// dry is as `kubectl apply --dry-run=server` asks: all is done but the writing, and an unknown field is a mistake.
var dry = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}

// startServer starts both, with the admission that a cluster has by default and a user who may do everything.
func startServer(t *testing.T) *server {
	t.Helper()
	dir, etcd, peers, api := t.TempDir(), freeAddress(t), freeAddress(t), freeAddress(t)
	launch(t, "etcd", "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--log-level", "warn",
		"--listen-client-urls", "http://"+etcd, "--advertise-client-urls", "http://"+etcd, "--listen-peer-urls", "http://"+peers,
		"--initial-advertise-peer-urls", "http://"+peers, "--initial-cluster", "default=http://"+peers)
	key, public := serviceAccountKeys(t, dir)
	tokens := filepath.Join(dir, "tokens.csv")
	if err := os.WriteFile(tokens, []byte("tests,tests,1,system:masters\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(api)
	log := launch(t, "kube-apiserver", "--etcd-servers", "http://"+etcd, "--bind-address", "127.0.0.1", "--secure-port", port,
		"--cert-dir", filepath.Join(dir, "certificates"), "--token-auth-file", tokens, "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://tests.example", "--service-account-key-file", public,
		"--service-account-signing-key-file", key, "--service-cluster-ip-range", "10.0.0.0/24", "--v", "1")
	config := &rest.Config{Host: "https://" + api, BearerToken: "tests", QPS: -1}
	config.Insecure = true // its certificate is its own, made at its start
	s := &server{}
	config.WarningHandler = &s.warnings
	s.typed = clientset.NewForConfigOrDie(config)
	s.dynamic = dynamic.NewForConfigOrDie(config)
	s.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(s.typed.Discovery()))
	waitFor(t, "the API server", func() error {
		_, err := s.typed.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(context.Background())
		if err != nil {
			return fmt.Errorf("%w\n%s", err, log())
		}
		return nil
	})
	return s
}

// launch starts a program of scripts/deps-server.sh that ends with the test; log gives the end of what it wrote.
func launch(t *testing.T, name string, arguments ...string) (log func() string) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(tool(t, name), arguments...)
	command.Stdout, command.Stderr = file, file
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = file.Close()
	})
	return func() string {
		text, _ := os.ReadFile(file.Name())
		lines := strings.Split(string(text), "\n")
		return strings.Join(lines[max(0, len(lines)-20):], "\n")
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func serviceAccountKeys(t *testing.T, dir string) (private, public string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private, public = filepath.Join(dir, "accounts.key"), filepath.Join(dir, "accounts.pub")
	for file, block := range map[string]*pem.Block{
		private: {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)},
		public:  {Type: "PUBLIC KEY", Bytes: encoded},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return private, public
}

func waitFor(t *testing.T, what string, holds func() error) {
	t.Helper()
	var last error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if last = holds(); last == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, last)
}

// namespace makes one that enforces the restricted standard, and warns of a workload whose pods it would refuse.
func (s *server) namespace(t *testing.T, name string) {
	t.Helper()
	restricted := map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
	made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: restricted}}
	if _, err := s.typed.CoreV1().Namespaces().Create(context.Background(), made, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// What the controller manager of a cluster makes.
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := s.typed.CoreV1().ServiceAccounts(name).Create(context.Background(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// create gives the server's answer; its warnings count as errors.
func (s *server) create(namespace string, o object, options metav1.CreateOptions) (object, error) {
	given := &unstructured.Unstructured{Object: o}
	kind := given.GroupVersionKind()
	mapping, err := s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	var resource dynamic.ResourceInterface = s.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == "namespace" {
		resource = s.dynamic.Resource(mapping.Resource).Namespace(namespace)
	}
	s.warnings.taken()
	made, err := resource.Create(context.Background(), given, options)
	if err != nil {
		return nil, err
	}
	if said := s.warnings.taken(); len(said) > 0 {
		return nil, fmt.Errorf("warnings: %s", strings.Join(said, "; "))
	}
	return made.Object, nil
}

// createPod gives the pod that the server would make.
func (s *server) createPod(namespace string, pod *corev1.Pod) (*corev1.Pod, error) {
	given := pod.DeepCopy()
	given.Namespace = namespace
	s.warnings.taken()
	made, err := s.typed.CoreV1().Pods(namespace).Create(context.Background(), given, dry)
	if err != nil {
		return nil, err
	}
	if said := s.warnings.taken(); len(said) > 0 {
		return nil, fmt.Errorf("warnings: %s", strings.Join(said, "; "))
	}
	return made, nil
}
