package prom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-go/parley/report"
)

// deliveries shows at each scrape how the sinks of reports fare. They are as many as the program has.
type deliveries struct {
	stats                  func() []report.Stats
	reports, waiting, dead *prometheus.Desc
}

func newDeliveries(stats func() []report.Stats) deliveries {
	sink := []string{"sink"}
	return deliveries{stats,
		prometheus.NewDesc("reports_total", "Deliveries of session reports, by sink and how they ended.", []string{"sink", "result"}, nil),
		prometheus.NewDesc("report_outbox_waiting", "Session reports in outboxes, to be tried again.", sink, nil),
		prometheus.NewDesc("report_dead_letters_total", "Session reports that were given up.", sink, nil)}
}

// Describe implements prometheus.Collector.
func (d deliveries) Describe(c chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{d.reports, d.waiting, d.dead} {
		c <- desc
	}
}

// Collect implements prometheus.Collector.
func (d deliveries) Collect(c chan<- prometheus.Metric) {
	for _, s := range d.stats() {
		c <- prometheus.MustNewConstMetric(d.reports, prometheus.CounterValue, float64(s.Delivered), s.Sink, "delivered")
		c <- prometheus.MustNewConstMetric(d.reports, prometheus.CounterValue, float64(s.Failed), s.Sink, string(Failed))
		c <- prometheus.MustNewConstMetric(d.waiting, prometheus.GaugeValue, float64(s.Waiting), s.Sink)
		c <- prometheus.MustNewConstMetric(d.dead, prometheus.CounterValue, float64(s.Dead), s.Sink)
	}
}
