// Command informer is a program as users write them with client-go: it follows the ConfigMaps and
// pods of a namespace by shared informers, and records the same Event again and again.
//
// It prints a JSON object a line: what its caches are told, and every request it makes. It ends when
// its input does.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
)

// repetitions is how often the Event is recorded.
const repetitions = 9

var printing sync.Mutex

func say(line map[string]any) {
	printing.Lock()
	defer printing.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		log.Fatal(err)
	}
}

// requests says what is asked of the server, and what came of it.
type requests struct {
	next http.RoundTripper
}

func (r requests) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.next.RoundTrip(request)
	line := map[string]any{
		"request": request.Method,
		"path":    request.URL.Path,
		"query":   request.URL.RawQuery,
	}
	if err == nil {
		line["code"] = response.StatusCode
	}
	say(line)
	return response, err
}

func told(kind, event string, object any) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	accessor, err := meta.Accessor(object)
	if err != nil {
		log.Fatal(err)
	}
	line := map[string]any{"kind": kind, "event": event, "name": accessor.GetName()}
	switch object := object.(type) {
	case *corev1.ConfigMap:
		line["data"] = object.Data
	case *corev1.Pod:
		line["phase"] = object.Status.Phase
	}
	say(line)
}

func follow(kind string, informer cache.SharedIndexInformer) cache.InformerSynced {
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { told(kind, "add", object) },
		UpdateFunc: func(_, object any) { told(kind, "update", object) },
		DeleteFunc: func(object any) { told(kind, "delete", object) },
	}
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		log.Fatal(err)
	}
	return registration.HasSynced
}

func repeat(client kubernetes.Interface, namespace, pod string) {
	options := record.CorrelatorOptions{BurstSize: repetitions + 1, QPS: 100}
	broadcaster := record.NewBroadcasterWithCorrelatorOptions(options)
	broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: client.CoreV1().Events(namespace)})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "informer"})
	about := &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: pod}
	for range repetitions {
		recorder.Event(about, corev1.EventTypeNormal, "Again", "it happened again")
	}
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	namespace := flag.String("namespace", "default", "what to follow")
	pod := flag.String("pod", "", "what the Event is about")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.WrapTransport = func(next http.RoundTripper) http.RoundTripper { return requests{next} }
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	factory := informers.NewSharedInformerFactoryWithOptions(client, time.Hour, informers.WithNamespace(*namespace))
	synced := []cache.InformerSynced{
		follow("ConfigMap", factory.Core().V1().ConfigMaps().Informer()),
		follow("Pod", factory.Core().V1().Pods().Informer()),
	}
	factory.Start(ctx.Done())
	if cache.WaitForCacheSync(ctx.Done(), synced...) {
		say(map[string]any{"synced": true})
	}
	repeat(client, *namespace, *pod)
	_, _ = io.Copy(io.Discard, os.Stdin)
	stop()
}
