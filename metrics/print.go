package metrics

import (
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// printer writes "name=value" for every field that differs from its default.
type printer struct {
	b strings.Builder
}

// format returns name with the fields of f that differ from their default.
func format(name string, f fielder) string {
	var p printer
	f.fields(&p)
	return name + "(" + p.b.String() + ")"
}

func (p *printer) put(name, value string) {
	if p.b.Len() > 0 {
		p.b.WriteString(", ")
	}
	p.b.WriteString(name)
	p.b.WriteByte('=')
	p.b.WriteString(value)
}

func (p *printer) text(name string, s *string, _ bool) {
	if *s != "" {
		p.put(name, singleQuoted(*s))
	}
}

func (p *printer) word(name string, s *string, def string) {
	if *s != def {
		p.text(name, s, false)
	}
}

func (p *printer) count(name string, n *int64) {
	if *n != 0 {
		p.put(name, strconv.FormatInt(*n, 10))
	}
}

func (p *printer) ratio(name string, f *float64) {
	if *f != 0 {
		p.put(name, strconv.FormatFloat(*f, 'g', -1, 64))
	}
}

func (p *printer) flag(name string, b *bool) {
	if *b {
		p.put(name, "true")
	}
}

func (p *printer) span(name string, d *time.Duration) {
	if *d != 0 {
		p.put(name, string(appendDuration(nil, *d)))
	}
}

func (p *printer) first(name string, d *time.Duration) {
	if *d < 0 {
		p.put(name, "-1")
		return
	}
	p.span(name, d)
}

func (p *printer) instant(name string, t *time.Time, _ bool) {
	if !t.IsZero() {
		p.put(name, string(appendTime(nil, *t)))
	}
}

func (*printer) raw(string, *Raw) {} // too long for a line

func (p *printer) group(name string, present bool, visit func(visitor)) {
	if !present {
		return
	}
	var inner printer
	visit(&inner)
	if inner.b.Len() > 0 {
		p.put(name, "("+inner.b.String()+")")
	}
}

func (p *printer) when(_ string, present bool, visit func()) {
	if present {
		visit()
	}
}

// singleQuoted quotes s so that nothing in it can leave the quotes or the line.
func singleQuoted(s string) string {
	q := strconv.Quote(s)
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	return "'" + strings.ReplaceAll(q, "'", `\'`) + "'"
}

// attrs collects the fields of a usage line, which has only texts, counts and spans, for slog.
type attrs struct {
	printer // the other kinds of fields do not occur
	list    []slog.Attr
}

func (a *attrs) text(name string, s *string, keep bool) {
	if keep || *s != "" {
		a.list = append(a.list, slog.String(name, *s))
	}
}

func (a *attrs) count(name string, n *int64) {
	if *n != 0 {
		a.list = append(a.list, slog.Int64(name, *n))
	}
}

func (a *attrs) span(name string, d *time.Duration) {
	if *d != 0 {
		a.list = append(a.list, slog.Float64(name, d.Seconds()))
	}
}
