package server

import (
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/berth-registry/berth/sqldb"
)

// metrics are the server's numbers, with few and bounded labels.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration [fronts]prometheus.Observer // by front
	problems prometheus.Gauge            // of the files of ConfigDir
	drift    prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "berth_http_requests_total", Help: "Requests answered, by front end and status."},
			[]string{"front", "status"})}
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "berth_http_request_seconds", Help: "Time to answer a request, by front end.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60}}, []string{"front"})
	m.problems = prometheus.NewGauge(prometheus.GaugeOpts{Name: "berth_declared_problems", Help: "What keeps the files of --config-dir from being true."})
	m.drift = prometheus.NewCounter(prometheus.CounterOpts{Name: "berth_declared_drift_total", Help: "Changes outside the files of --config-dir that were mended."})
	m.registry.MustRegister(m.requests, h, m.problems, m.drift, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for f := range m.duration {
		m.duration[f] = h.WithLabelValues(front(f).String())
	}
	return m
}

func (m *metrics) observe(f front, status int, took time.Duration) {
	if status < 100 || status > 599 {
		status = 0
	}
	m.requests.WithLabelValues(f.String(), strconv.Itoa(status)).Inc()
	m.duration[f].Observe(took.Seconds())
}

// watchDB has the numbers of the database told.
func (m *metrics) watchDB(db *sqldb.DB) {
	for name, c := range map[string]struct {
		help string
		read func(sqldb.Stats) int64
	}{
		"berth_db_transactions_total": {"Transactions that were committed.", func(s sqldb.Stats) int64 { return s.Transactions }},
		"berth_db_commits_total":      {"Commits; on SQLite several transactions share one.", func(s sqldb.Stats) int64 { return s.Commits }},
		"berth_db_flushes_total":      {"Flushes of SQLite's log that somebody waited for.", func(s sqldb.Stats) int64 { return s.Flushes }},
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: c.help}, func() float64 { return float64(c.read(db.Stats())) }))
	}
}

// admin is the handler of the second listener.
func (s *Server) admin() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := s.Ready(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
