package metrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Amount is an amount of money in billionths of a currency's unit, so that sums are exact. In JSON it
// is a decimal in a string, "0.0123"; a number is read exactly, too.
type Amount int64

// Unit is one of a currency: 2 * Unit in USD is two dollars.
const Unit Amount = 1e9

// Money is an amount in a currency.
type Money struct {
	Amount   Amount `json:"amount"`
	Currency string `json:"currency"` // as ISO 4217 has it, e.g. "USD"
}

var (
	errAmount   = errors.New("not an amount of money, at most nine decimal places and nine billion")
	errDecimal  = errors.New("not a decimal that is zero or more")
	errCurrency = errors.New("not a currency of three capital letters")
)

// ParseMoney reads an amount and a currency, "0.50 USD".
func ParseMoney(s string) (Money, error) {
	amount, currency, _ := strings.Cut(s, " ")
	a, err := parseAmount(amount)
	if err == nil {
		err = checkCurrency(currency)
	}
	if err != nil {
		return Money{}, fmt.Errorf("metrics: money %q: %w", s, err)
	}
	return Money{a, currency}, nil
}

// String is the amount and the currency, "0.5 USD".
func (m Money) String() string { return m.Amount.String() + " " + m.Currency }

// String is the amount as a decimal, without zeros at its end.
func (a Amount) String() string { return string(a.append(nil)) }

func (a Amount) append(b []byte) []byte {
	n := uint64(a)
	if a < 0 {
		n = -n
	}
	return appendSeconds(b, a < 0, n/uint64(Unit), n%uint64(Unit))
}

// MarshalJSON implements json.Marshaler.
func (a Amount) MarshalJSON() ([]byte, error) {
	return append(a.append([]byte{'"'}), '"'), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Amount) UnmarshalJSON(data []byte) error {
	s, err := unquoted(data)
	if err == nil {
		*a, err = parseAmount(s)
	}
	return err
}

func parseAmount(s string) (Amount, error) {
	minus := strings.HasPrefix(s, "-")
	r, err := parseDecimal(strings.TrimPrefix(s, "-"))
	if err != nil {
		return 0, errAmount
	}
	r.Mul(r, nano)
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, errAmount
	}
	n := Amount(r.Num().Int64())
	if minus {
		n = -n
	}
	return n, nil
}

// nano makes billionths of units.
var nano = big.NewRat(int64(Unit), 1)

// rounded is r in billionths, half to even; too much is the most there is.
func rounded(r *big.Rat) Amount {
	n := new(big.Rat).Mul(r, nano)
	q, rest := new(big.Int).QuoRem(n.Num(), n.Denom(), new(big.Int))
	half := rest.Lsh(rest, 1).Cmp(n.Denom())
	if half > 0 || half == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	if !q.IsInt64() {
		return Amount(1<<63 - 1)
	}
	return Amount(q.Int64())
}

// parseDecimal reads a decimal exactly. It bounds what it takes, since a short exponent can make a very
// large number.
func parseDecimal(s string) (*big.Rat, error) {
	mantissa, exp, scientific := strings.Cut(strings.ToLower(s), "e")
	if scientific {
		if n, err := strconv.Atoi(exp); err != nil || n < -30 || n > 30 {
			return nil, errDecimal
		}
	}
	whole, frac, dot := strings.Cut(mantissa, ".")
	if len(s) > 40 || !digits(whole) || dot && !digits(frac) {
		return nil, errDecimal
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, errDecimal
	}
	return r, nil
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func checkCurrency(s string) error {
	if len(s) != 3 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return errCurrency
	}
	return nil
}

// unquoted is the text of a JSON string, or of a number as it is written.
func unquoted(data []byte) (string, error) {
	if len(data) == 0 || data[0] != '"' {
		return string(data), nil
	}
	var s string
	err := json.Unmarshal(data, &s)
	return s, err
}
