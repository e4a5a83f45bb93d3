package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// floor is the least a durable registry can do: it hashes what comes in, writes
// one file a blob and flushes it once, appends one record a change to a log whose
// flush concurrent changes share, keeps all metadata in memory and sends files by
// sendfile. It checks nothing, authorises nobody and cannot restart.
type floor struct {
	dir     string
	log     *groupLog
	mu      sync.RWMutex
	blobs   map[string]string // repo@digest -> file
	size    map[string]int64
	images  map[string]image // repo@digest
	tags    map[string]map[string]string
	sorted  map[string][]string // repo -> tags, nil when stale
	uploads map[string]*floorUpload
}

type image struct {
	mediaType string
	body      []byte
}

type floorUpload struct {
	f *os.File
	h interface {
		io.Writer
		Sum([]byte) []byte
	}
	n int64
}

// groupLog appends records; those that wait share a flush.
type groupLog struct {
	queue chan logRecord
}

type logRecord struct {
	b    []byte
	done chan error
}

func openLog(name string) (*groupLog, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	g := &groupLog{make(chan logRecord, 1024)}
	go func() {
		for r := range g.queue {
			batch := []logRecord{r}
			for len(g.queue) > 0 && len(batch) < 256 {
				batch = append(batch, <-g.queue)
			}
			var all []byte
			for _, r := range batch {
				all = append(all, r.b...)
			}
			_, err := f.Write(all)
			if err == nil {
				err = f.Sync()
			}
			for _, r := range batch {
				r.done <- err
			}
		}
	}()
	return g, nil
}

func (g *groupLog) append(parts ...string) error {
	r := logRecord{[]byte(strings.Join(parts, "\t") + "\n"), make(chan error, 1)}
	g.queue <- r
	return <-r.done
}

func floorMain(args []string) error {
	if len(args) != 2 && len(args) != 4 {
		return errors.New("usage: floor ADDRESS DIR [CERTIFICATE KEY]")
	}
	f := &floor{dir: args[1], blobs: map[string]string{}, size: map[string]int64{}, images: map[string]image{}, tags: map[string]map[string]string{},
		sorted: map[string][]string{}, uploads: map[string]*floorUpload{}}
	var err error
	if f.log, err = openLog(filepath.Join(f.dir, "log.floor")); err != nil {
		return err
	}
	srv := &http.Server{Addr: args[0], Handler: f}
	if len(args) == 4 {
		return srv.ListenAndServeTLS(args[2], args[3])
	}
	return srv.ListenAndServe()
}

func (f *floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := strings.TrimPrefix(r.URL.Path, "/v2/")
	var err error
	switch {
	case p == "":
		w.WriteHeader(200)
	case strings.HasSuffix(p, "/blobs/uploads/"):
		err = f.start(w, r, strings.TrimSuffix(p, "/blobs/uploads/"))
	case strings.HasSuffix(p, "/tags/list"):
		f.list(w, r, strings.TrimSuffix(p, "/tags/list"))
	default:
		i := strings.LastIndexByte(p, '/')
		head, ref := p[:i], p[i+1:]
		switch {
		case strings.HasSuffix(head, "/blobs/uploads"):
			err = f.upload(w, r, strings.TrimSuffix(head, "/blobs/uploads"), ref)
		case strings.HasSuffix(head, "/blobs"):
			f.blob(w, r, strings.TrimSuffix(head, "/blobs"), ref)
		default:
			err = f.manifest(w, r, strings.TrimSuffix(head, "/manifests"), ref)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), 500)
	}
}

func (f *floor) start(w http.ResponseWriter, r *http.Request, repo string) error {
	if d := r.URL.Query().Get("mount"); d != "" {
		f.mu.Lock()
		from := r.URL.Query().Get("from") + "@" + d
		file, ok := f.blobs[from]
		if ok {
			f.blobs[repo+"@"+d], f.size[repo+"@"+d] = file, f.size[from]
		}
		f.mu.Unlock()
		if ok {
			if err := f.log.append("mount", repo, d); err != nil {
				return err
			}
			w.WriteHeader(201)
			return nil
		}
	}
	var id [16]byte
	rand.Read(id[:])
	name := hex.EncodeToString(id[:])
	f.mu.Lock()
	f.uploads[name] = &floorUpload{h: sha256.New()}
	f.mu.Unlock()
	w.Header().Set("Location", "/v2/"+repo+"/blobs/uploads/"+name)
	w.WriteHeader(202)
	return nil
}

func (f *floor) upload(w http.ResponseWriter, r *http.Request, repo, id string) error {
	f.mu.RLock()
	u := f.uploads[id]
	f.mu.RUnlock()
	if u == nil {
		w.WriteHeader(404)
		return nil
	}
	if u.f == nil {
		var err error
		if u.f, err = os.Create(filepath.Join(f.dir, id)); err != nil {
			return err
		}
	}
	if err := u.receive(r.Body, r.ContentLength); err != nil {
		return err
	}
	if r.Method == http.MethodPatch {
		w.Header().Set("Location", r.URL.Path)
		w.WriteHeader(202)
		return nil
	}
	d := "sha256:" + hex.EncodeToString(u.h.Sum(nil))
	if d != r.URL.Query().Get("digest") {
		w.WriteHeader(400)
		return nil
	}
	if err := u.f.Sync(); err != nil {
		return err
	}
	if err := u.f.Close(); err != nil {
		return err
	}
	if err := f.log.append("blob", repo, d, id); err != nil {
		return err
	}
	f.mu.Lock()
	f.blobs[repo+"@"+d], f.size[repo+"@"+d] = filepath.Join(f.dir, id), u.n
	delete(f.uploads, id)
	f.mu.Unlock()
	w.WriteHeader(201)
	return nil
}

// receive reads, hashes on a second core when there is much, and writes in pieces
// of 32 KiB.
func (u *floorUpload) receive(body io.Reader, length int64) error {
	if length == 0 {
		return nil
	}
	size := 256 << 10
	if length > 0 && length < int64(size) {
		size = int(length)
	}
	a, b := make([]byte, size), make([]byte, 0)
	if length < 0 || length > int64(size) {
		b = make([]byte, size)
	}
	hash, done := make(chan []byte), make(chan struct{})
	parallel := len(b) > 0
	if parallel {
		go func() {
			for p := range hash {
				u.h.Write(p)
				done <- struct{}{}
			}
		}()
		defer close(hash)
	}
	for {
		n, err := io.ReadFull(body, a)
		if n > 0 {
			if parallel {
				hash <- a[:n]
			} else {
				u.h.Write(a[:n])
			}
			for off := 0; off < n; off += 32 << 10 {
				if _, werr := u.f.Write(a[off:min(n, off+32<<10)]); werr != nil {
					return werr
				}
			}
			u.n += int64(n)
			if parallel {
				<-done
				a, b = b, a
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF || length > 0 && u.n >= length {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (f *floor) blob(w http.ResponseWriter, r *http.Request, repo, d string) {
	f.mu.RLock()
	file, ok := f.blobs[repo+"@"+d]
	size := f.size[repo+"@"+d]
	f.mu.RUnlock()
	if !ok {
		w.WriteHeader(404)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	if r.Method == http.MethodHead {
		return
	}
	h, err := os.Open(file)
	if err != nil {
		return
	}
	defer h.Close()
	_, _ = io.CopyN(w, h, size)
}

func (f *floor) manifest(w http.ResponseWriter, r *http.Request, repo, ref string) error {
	switch r.Method {
	case http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		d := fmt.Sprintf("sha256:%x", sha256.Sum256(body))
		if err := f.log.append("image", repo, ref, d, string(body)); err != nil {
			return err
		}
		f.mu.Lock()
		f.images[repo+"@"+d] = image{r.Header.Get("Content-Type"), body}
		if f.tags[repo] == nil {
			f.tags[repo] = map[string]string{}
		}
		if !strings.Contains(ref, ":") {
			f.tags[repo][ref] = d
			f.sorted[repo] = nil
		}
		f.mu.Unlock()
		w.Header().Set("Docker-Content-Digest", d)
		w.WriteHeader(201)
	case http.MethodDelete:
		if err := f.log.append("delete", repo, ref); err != nil {
			return err
		}
		f.mu.Lock()
		delete(f.images, repo+"@"+ref)
		f.mu.Unlock()
		w.WriteHeader(202)
	default:
		f.mu.RLock()
		d := ref
		if !strings.Contains(ref, ":") {
			d = f.tags[repo][ref]
		}
		m, ok := f.images[repo+"@"+d]
		f.mu.RUnlock()
		if !ok {
			w.WriteHeader(404)
			return nil
		}
		w.Header().Set("Content-Type", m.mediaType)
		w.Header().Set("Docker-Content-Digest", d)
		w.Header().Set("Content-Length", strconv.Itoa(len(m.body)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(m.body)
		}
	}
	return nil
}

func (f *floor) list(w http.ResponseWriter, r *http.Request, repo string) {
	f.mu.Lock()
	if f.sorted[repo] == nil {
		for t := range f.tags[repo] {
			f.sorted[repo] = append(f.sorted[repo], t)
		}
		slices.Sort(f.sorted[repo])
	}
	all := f.sorted[repo]
	f.mu.Unlock()
	n := len(all)
	if s := r.URL.Query().Get("n"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	from, found := slices.BinarySearch(all, r.URL.Query().Get("last"))
	if found {
		from++
	}
	page := all[from:min(len(all), from+n)]
	if from+n < len(all) {
		w.Header().Set("Link", fmt.Sprintf(`<%s?n=%d&last=%s>; rel="next"`, r.URL.Path, n, page[len(page)-1]))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"name": repo, "tags": page})
}
