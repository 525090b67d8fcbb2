package prom

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-go/parley/model"
)

var modelLabels = []string{"model_provider", "model_name"}

// maxModels is how many models have figures of their own.
const maxModels = 200

// other stands for all models after them.
const other = "other"

// names bounds the values of the model labels: a program may take the name of a model from anywhere.
type names struct {
	mu   sync.Mutex
	seen map[[2]string]struct{}
}

// of returns the labels of a model.
func (n *names) of(provider, model string) (string, string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := [2]string{provider, model}
	if _, ok := n.seen[key]; ok {
		return provider, model
	}
	if len(n.seen) >= maxModels {
		return other, other
	}
	if n.seen == nil {
		n.seen = make(map[[2]string]struct{})
	}
	n.seen[key] = struct{}{}
	return provider, model
}

func errorType(err error) string {
	var e *model.Error
	if errors.As(err, &e) {
		return string(e.Kind)
	}
	return "error"
}

// maker makes and registers figures.
type maker struct{ reg prometheus.Registerer }

func (m maker) counters(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.reg.MustRegister(v) // the names are ours and distinct
	return v
}

func (m maker) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	m.reg.MustRegister(v)
	return v
}

func (m maker) histogram(name, help string, buckets []float64) prometheus.Histogram {
	v := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	m.reg.MustRegister(v)
	return v
}

func (m maker) counter(name, help string, f func() uint64) {
	m.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(f()) }))
}

func (m maker) gauge(name, help string, f func() float64) {
	m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
}
