package chat

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxUnix is the end of the year 9999, the last that other tools can read.
const maxUnix = 253402300799

// maxSeconds is what fits into a time.Duration, about 292 years.
const maxSeconds = int64(math.MaxInt64/time.Second) - 1

// unixTime is a time as Unix seconds with as many decimals as it has, so that nothing is lost.
type unixTime time.Time

// seconds is a duration as seconds, likewise.
type seconds time.Duration

func toUnix(t time.Time) *unixTime {
	if t.IsZero() {
		return nil
	}
	return (*unixTime)(&t)
}

func (u *unixTime) time() time.Time {
	if u == nil {
		return time.Time{}
	}
	return time.Time(*u)
}

func (u unixTime) MarshalJSON() ([]byte, error) {
	t := time.Time(u)
	sec, nano := t.Unix(), int64(t.Nanosecond())
	if sec < 0 && nano > 0 { // the fraction counts away from zero in decimals
		sec, nano = sec+1, nano-1e9
	}
	return decimal(sec, nano), nil
}

func (u *unixTime) UnmarshalJSON(data []byte) error {
	sec, nano, err := parseDecimal(string(data))
	if err != nil || sec > maxUnix || sec < -maxUnix {
		return fmt.Errorf("%.40q is no time in Unix seconds", data)
	}
	*u = unixTime(time.Unix(sec, nano).UTC())
	return nil
}

func (s seconds) MarshalJSON() ([]byte, error) {
	return decimal(int64(s)/1e9, int64(s)%1e9), nil
}

func (s *seconds) UnmarshalJSON(data []byte) error {
	sec, nano, err := parseDecimal(string(data))
	if err != nil || sec > maxSeconds || sec < -maxSeconds {
		return fmt.Errorf("%.40q is no duration in seconds", data)
	}
	*s = seconds(sec*1e9 + nano)
	return nil
}

// decimal writes sec + nano/1e9; both have the same sign.
func decimal(sec, nano int64) []byte {
	var b []byte
	if sec < 0 || nano < 0 {
		b = append(b, '-')
		sec, nano = -sec, -nano
	}
	b = strconv.AppendInt(b, sec, 10)
	if nano == 0 {
		return append(b, ".0"...) // a float for readers that care
	}
	frac := strings.TrimRight(fmt.Sprintf("%09d", nano), "0")
	return append(append(b, '.'), frac...)
}

// parseDecimal reads a JSON number; decimals beyond nanoseconds are dropped.
func parseDecimal(text string) (sec, nano int64, err error) {
	if strings.ContainsAny(text, "eE") {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.Abs(f) > 1e18 {
			return 0, 0, fmt.Errorf("number out of range")
		}
		whole, frac := math.Modf(f)
		return int64(whole), int64(math.Round(frac * 1e9)), nil
	}
	whole, frac, _ := strings.Cut(text, ".")
	if sec, err = strconv.ParseInt(whole, 10, 64); err != nil {
		return 0, 0, err
	}
	frac = (frac + "000000000")[:9]
	n, err := strconv.ParseUint(frac, 10, 63)
	if err != nil {
		return 0, 0, err
	}
	if nano = int64(n); strings.HasPrefix(whole, "-") {
		nano = -nano
	}
	return sec, nano, nil
}
