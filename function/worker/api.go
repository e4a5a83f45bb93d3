package worker

import (
	"io"
	"net/http"
	"strconv"
)

const apiRoot = "/2018-06-01/runtime/"

// api is the Lambda Runtime API (AWS Lambda developer guide, runtime API).
func (w *Worker) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+apiRoot+"invocation/next", w.apiNext)
	mux.HandleFunc("POST "+apiRoot+"invocation/{id}/response", func(rw http.ResponseWriter, r *http.Request) { w.apiAnswer(rw, r, false) })
	mux.HandleFunc("POST "+apiRoot+"invocation/{id}/error", func(rw http.ResponseWriter, r *http.Request) { w.apiAnswer(rw, r, true) })
	mux.HandleFunc("POST "+apiRoot+"init/error", func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, maxResponse)) // what came is told
		w.initErr.Store(&body)
		rw.WriteHeader(http.StatusAccepted)
	})
	return mux
}

func (w *Worker) apiNext(rw http.ResponseWriter, r *http.Request) {
	w.readyOnce.Do(func() { close(w.ready) })
	select {
	case in := <-w.next:
		h := rw.Header()
		h.Set("Lambda-Runtime-Aws-Request-Id", in.ID)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(in.Deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", in.ARN)
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(in.Payload)))
		_, _ = rw.Write(in.Payload) // a runtime that is gone is noticed otherwise
	case <-r.Context().Done():
	case <-w.exited:
	}
}

func (w *Worker) apiAnswer(rw http.ResponseWriter, r *http.Request, failed bool) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxResponse+1))
	in := w.current.Load()
	switch {
	case err != nil:
		http.Error(rw, `{"errorType":"InvalidRequest"}`, http.StatusBadRequest)
		return
	case in == nil || in.ID != r.PathValue("id"):
		http.Error(rw, `{"errorType":"InvalidRequestID"}`, http.StatusBadRequest)
		return
	case len(body) > maxResponse:
		body, failed = []byte(`{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}`), true
		rw.WriteHeader(http.StatusRequestEntityTooLarge)
	default:
		rw.WriteHeader(http.StatusAccepted)
	}
	if f, ok := rw.(http.Flusher); ok {
		f.Flush() // it is stopped as soon as the answer is known here
	}
	select {
	case w.answers <- answer{in.ID, body, failed}:
	default: // it has answered already
	}
}
