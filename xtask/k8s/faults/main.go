// Command faults is a proxy before an API server that answers wrongly and late as it is told.
//
// It listens twice on loopback: with TLS, for the client under test, whose bearer token goes
// through; and without, for the test itself, as the administrator. What it does wrong is set at
// /.faults of the second, and concerns the first only.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// faults is what goes wrong. The zero value is a proxy that does its job.
type faults struct {
	// Every request waits so long.
	DelayMs int `json:"delay_ms"`
	// Answered instead of asking the API server; 0 asks it.
	Status int `json:"status"`
	// Seconds in Retry-After of such an answer; 0 leaves it out.
	RetryAfter int `json:"retry_after"`
	// The part of requests that are answered so, in percent; 0 means all.
	Percent int `json:"percent"`
	// Only these methods; empty means all.
	Methods []string `json:"methods"`
	// Only paths that contain this.
	Path string `json:"path"`
}

type proxy struct {
	mu       sync.Mutex
	faults   faults
	requests int
	faulted  int
}

func main() {
	upstream := flag.String("upstream", "", "URL of the API server")
	authority := flag.String("ca", "", "who signed its certificate")
	certificate := flag.String("cert", "", "server certificate of this proxy")
	key := flag.String("key", "", "its key")
	adminCertificate := flag.String("admin-cert", "", "client certificate of the administrator")
	adminKey := flag.String("admin-key", "", "its key")
	secure := flag.String("secure", "127.0.0.1:0", "where to listen with TLS")
	plain := flag.String("plain", "127.0.0.1:0", "where to listen without, for the administrator")
	flag.Parse()
	if err := run(*upstream, *authority, *certificate, *key, *adminCertificate, *adminKey, *secure, *plain); err != nil {
		log.Fatal(err)
	}
}

func run(upstream, authority, certificate, key, adminCertificate, adminKey, secure, plain string) error {
	target, err := url.Parse(upstream)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(authority)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return errors.New("no certificate in -ca")
	}
	admin, err := tls.LoadX509KeyPair(adminCertificate, adminKey)
	if err != nil {
		return err
	}
	own, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	state := &proxy{}
	through := reverse(target, &tls.Config{RootCAs: roots})
	asAdmin := reverse(target, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{admin}})

	plainListener, err := net.Listen("tcp", plain)
	if err != nil {
		return err
	}
	secureListener, err := net.Listen("tcp", secure)
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() {
		mux := http.NewServeMux()
		mux.HandleFunc("/.faults", state.control)
		mux.Handle("/", asAdmin)
		ended <- http.Serve(plainListener, mux)
	}()
	go func() {
		server := &http.Server{
			Handler:   state.handler(through),
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{own}},
		}
		ended <- server.ServeTLS(secureListener, "", "")
	}()
	return <-ended
}

func reverse(target *url.URL, config *tls.Config) *httputil.ReverseProxy {
	through := httputil.NewSingleHostReverseProxy(target)
	through.Transport = &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	// Watches: each event at once.
	through.FlushInterval = -1
	through.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
		log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
		// As if nobody listened: the connection ends without an answer.
		panic(http.ErrAbortHandler)
	}
	return through
}

func (p *proxy) control(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Method == http.MethodPut {
		var wanted faults
		if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p.faults = wanted
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"requests":%d,"faulted":%d}`, p.requests, p.faulted)
}

func (p *proxy) handler(through http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.requests++
		wrong := p.faults
		hit := wrong.hits(r)
		if hit {
			p.faulted++
		}
		p.mu.Unlock()
		if !hit {
			through.ServeHTTP(w, r)
			return
		}
		select {
		case <-time.After(time.Duration(wrong.DelayMs) * time.Millisecond):
		case <-r.Context().Done():
			return
		}
		if wrong.Status == 0 {
			through.ServeHTTP(w, r)
			return
		}
		if wrong.RetryAfter > 0 {
			w.Header().Set("Retry-After", fmt.Sprint(wrong.RetryAfter))
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(wrong.Status)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"a fault of the proxy","code":%d}`, wrong.Status)
	})
}

func (f faults) hits(r *http.Request) bool {
	if f.DelayMs == 0 && f.Status == 0 {
		return false
	}
	if len(f.Methods) > 0 && !slices.Contains(f.Methods, r.Method) {
		return false
	}
	if !strings.Contains(r.URL.Path, f.Path) {
		return false
	}
	return f.Percent == 0 || rand.IntN(100) < f.Percent
}
