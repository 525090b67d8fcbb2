package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strconv"
	"strings"
	"time"
)

// PriceBook is what models cost, by provider and model, in one currency. It is read from JSON (see
// docs/usage.md) and never changes, so that it may be used by any number of goroutines. Parley comes
// without prices: a book is the user's.
type PriceBook struct {
	version, currency string
	valid             span
	prices            []price
}

// priceFormat is the version of the JSON form of a PriceBook.
const priceFormat = 1

// price is what a model costs.
type price struct {
	typ, provider, model string // typ may be empty; provider and model may end with a star
	valid                span
	rates                [numMeters]*big.Rat // for one token, character, request or nanosecond; nil for none
}

// span is a time from a moment, included, until another, not included; a zero one is open.
type span struct{ from, until time.Time }

func (s span) has(t time.Time) bool {
	return (s.from.IsZero() || !t.Before(s.from)) && (s.until.IsZero() || t.Before(s.until))
}

// LoadPriceBook reads a book from a file.
func LoadPriceBook(path string) (*PriceBook, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("metrics: reading price book: %w", err)
	}
	b, err := ParsePriceBook(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// ParsePriceBook reads the JSON form of a book. What it does not know, such as a misspelt rate, is an
// error, since a price that is overlooked is a wrong bill. So is what is said twice, and a price that never counts
// because one before it always does.
func ParsePriceBook(data []byte) (*PriceBook, error) {
	b, err := parseBook(data)
	if err != nil {
		return nil, fmt.Errorf("metrics: price book: %w", err)
	}
	return b, nil
}

// Version is what the book calls itself.
func (b *PriceBook) Version() string { return b.version }

// Currency is the currency of all prices in the book.
func (b *PriceBook) Currency() string { return b.currency }

type bookJSON struct {
	Format   int         `json:"format"`
	Version  string      `json:"version"`
	Comment  string      `json:"comment"`
	Currency string      `json:"currency"`
	From     string      `json:"valid_from"`
	Until    string      `json:"valid_until"`
	Prices   []priceJSON `json:"prices"`
}

type priceJSON struct {
	Type     string              `json:"type"`
	Provider string              `json:"provider"`
	Model    string              `json:"model"`
	Comment  string              `json:"comment"`
	From     string              `json:"valid_from"`
	Until    string              `json:"valid_until"`
	Rates    map[string]rateJSON `json:"rates"`
}

type rateJSON struct {
	Price json.RawMessage `json:"price"`
	Per   json.RawMessage `json:"per"`
}

func parseBook(data []byte) (*PriceBook, error) {
	var doc bookJSON
	data = bytes.TrimPrefix(data, []byte("\uFEFF")) // some editors begin files with this mark
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the book")
	}
	if err := saidOnce(json.NewDecoder(bytes.NewReader(data))); err != nil {
		return nil, err
	}
	if doc.Format != priceFormat {
		return nil, fmt.Errorf("format %d is unknown, want %d", doc.Format, priceFormat)
	}
	if doc.Version == "" {
		return nil, errors.New("it has no version")
	}
	if err := checkCurrency(doc.Currency); err != nil {
		return nil, fmt.Errorf("currency %q: %w", doc.Currency, err)
	}
	b := &PriceBook{version: doc.Version, currency: doc.Currency}
	var err error
	if b.valid, err = parseSpan(doc.From, doc.Until); err != nil {
		return nil, err
	}
	for i, p := range doc.Prices {
		one, err := p.parse()
		if err != nil {
			return nil, fmt.Errorf("price %d (%s %s): %w", i, p.Provider, p.Model, err)
		}
		for k := range b.prices {
			if b.prices[k].covers(&one) {
				return nil, fmt.Errorf("price %d (%s %s): it never counts, since price %d (%s %s) comes first", i, p.Provider, p.Model,
					k, b.prices[k].provider, b.prices[k].model)
			}
		}
		b.prices = append(b.prices, one)
	}
	return b, nil
}

// saidOnce reads a value, and fails if an object in it has a name twice, in any case: of those the last would count.
func saidOnce(dec *json.Decoder) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	open, _ := t.(json.Delim)
	names := make(map[string]bool)
	for open != 0 && dec.More() {
		if open == '{' {
			t, err := dec.Token()
			if err != nil {
				return err
			}
			name := strings.ToLower(t.(string)) // or it were no object
			if names[name] {
				return fmt.Errorf("%q is there twice", name)
			}
			names[name] = true
		}
		if err := saidOnce(dec); err != nil {
			return err
		}
	}
	if open != 0 {
		_, err = dec.Token()
	}
	return err
}

// covers reports whether p is for everything that o is for.
func (p *price) covers(o *price) bool {
	return (p.typ == "" || p.typ == o.typ) && covers(p.provider, o.provider) && covers(p.model, o.model) && p.valid.covers(o.valid)
}

// covers reports whether all names that fit the second pattern fit the first.
func covers(pattern, other string) bool {
	if strings.HasSuffix(pattern, "*") {
		other = strings.TrimSuffix(other, "*")
	}
	return matches(pattern, other)
}

func (s span) covers(o span) bool {
	return (s.from.IsZero() || !o.from.IsZero() && !o.from.Before(s.from)) && (s.until.IsZero() || !o.until.IsZero() && !o.until.After(s.until))
}

func (j *priceJSON) parse() (p price, err error) {
	p = price{typ: j.Type, provider: j.Provider, model: j.Model}
	switch j.Type {
	case "", typeLLMUsage, typeTTSUsage, typeSTTUsage, typeInterruptionUsage, typeEOTUsage:
	default:
		return p, fmt.Errorf("%w %q", ErrUnknownType, j.Type)
	}
	if j.Provider == "" || j.Model == "" {
		return p, errors.New("it needs a provider and a model, \"*\" for any")
	}
	if len(j.Rates) == 0 {
		return p, errors.New("it has no rates; what is free has rates of 0")
	}
	if p.valid, err = parseSpan(j.From, j.Until); err != nil {
		return p, err
	}
	for name, rate := range j.Rates {
		m, ok := meterNamed(name)
		if !ok {
			return p, fmt.Errorf("rate %q is unknown", name)
		}
		if p.rates[m], err = rate.parse(m); err != nil {
			return p, fmt.Errorf("rate %q: %w", name, err)
		}
	}
	return p, nil
}

// parse returns the price of one of what m counts.
func (j *rateJSON) parse(m meter) (*big.Rat, error) {
	s, err := unquoted(j.Price)
	if err != nil {
		return nil, err
	}
	r, err := parseDecimal(s)
	if err != nil {
		return nil, fmt.Errorf("price %q: %w", s, err)
	}
	s, err = unquoted(j.Per)
	if err != nil {
		return nil, err
	}
	n, ok := perTime[s]
	if ok != m.timed() {
		n = 0
	} else if !ok {
		if n, err = strconv.ParseInt(s, 10, 64); err != nil {
			n = 0
		}
	}
	if n <= 0 {
		if m.timed() {
			return nil, fmt.Errorf("per %q: want second, minute or hour", s)
		}
		return nil, fmt.Errorf("per %q: want a number above zero", s)
	}
	return r.Quo(r, new(big.Rat).SetInt64(n)), nil
}

// perTime has the units of rates for time.
var perTime = map[string]int64{"second": int64(time.Second), "minute": int64(time.Minute), "hour": int64(time.Hour)}

func parseSpan(from, until string) (s span, err error) {
	if s.from, err = parseDate(from); err == nil {
		s.until, err = parseDate(until)
	}
	if err == nil && !s.from.IsZero() && !s.until.IsZero() && !s.from.Before(s.until) {
		err = fmt.Errorf("it is valid from %s, but only until %s", from, until)
	}
	return s, err
}

// parseDate reads a day, which begins at midnight UTC, or a moment.
func parseDate(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		t, err = time.Parse(time.RFC3339, s)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("date %q: want 2006-01-02 or RFC 3339", s)
	}
	return t, nil
}

// priceOf returns the first price for k in the first book that has one at a time.
func priceOf(books []*PriceBook, k Key, at time.Time) (*PriceBook, *price) {
	for _, b := range books {
		if b == nil || !b.valid.has(at) {
			continue
		}
		for i := range b.prices {
			p := &b.prices[i]
			if (p.typ == "" || p.typ == k.Type) && matches(p.provider, k.Provider) && matches(p.model, k.Model) && p.valid.has(at) {
				return b, p
			}
		}
	}
	return nil, nil
}

func matches(pattern, s string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s, prefix)
	}
	return pattern == s
}
