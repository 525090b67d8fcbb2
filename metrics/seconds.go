package metrics

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

var errSeconds = errors.New("not a number of seconds in range")

// maxSeconds keeps a duration within int64 nanoseconds and a time stamp within reason.
const maxSeconds = 9_000_000_000

// appendSeconds writes seconds exactly, as a decimal, so that reading them back loses nothing
// where a float would.
func appendSeconds(b []byte, negative bool, sec, nsec uint64) []byte {
	if negative {
		b = append(b, '-')
	}
	b = strconv.AppendUint(b, sec, 10)
	if nsec == 0 {
		return b
	}
	var frac [9]byte
	for i := len(frac) - 1; i >= 0; i-- {
		frac[i] = byte('0' + nsec%10)
		nsec /= 10
	}
	b = append(b, '.')
	return append(b, strings.TrimRight(string(frac[:]), "0")...)
}

// appendDuration writes d; one that no reader would believe is cut to what they take.
func appendDuration(b []byte, d time.Duration) []byte {
	d = min(max(d, -maxSeconds*time.Second), maxSeconds*time.Second)
	n := uint64(d)
	if d < 0 {
		n = -n
	}
	return appendSeconds(b, d < 0, n/1e9, n%1e9)
}

// appendTime writes Unix seconds; the zero time is 0, and one out of reason is cut as by appendDuration.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, '0')
	}
	sec, nsec := t.Unix(), int64(t.Nanosecond())
	if sec >= maxSeconds || sec < -maxSeconds {
		sec, nsec = min(max(sec, -maxSeconds), maxSeconds), 0
	}
	if sec >= 0 {
		return appendSeconds(b, false, uint64(sec), uint64(nsec))
	}
	if nsec > 0 {
		sec, nsec = sec+1, 1e9-nsec
	}
	return appendSeconds(b, true, uint64(-sec), uint64(nsec))
}

// parseSeconds reads a JSON number of seconds.
func parseSeconds(s string) (sec, nsec int64, err error) {
	if strings.ContainsAny(s, "eE") {
		return parseFloatSeconds(s)
	}
	whole, frac, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	sec, err = strconv.ParseInt(whole, 10, 64)
	if err != nil || sec > maxSeconds {
		return 0, 0, errSeconds
	}
	if len(frac) > 9 {
		frac = frac[:9]
	}
	if frac != "" {
		nsec, err = strconv.ParseInt((frac + "000000000")[:9], 10, 64)
		if err != nil {
			return 0, 0, errSeconds
		}
	}
	if strings.HasPrefix(s, "-") {
		sec, nsec = -sec, -nsec
	}
	return sec, nsec, nil
}

func parseFloatSeconds(s string) (sec, nsec int64, err error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Abs(f) > maxSeconds {
		return 0, 0, errSeconds
	}
	whole, frac := math.Modf(f)
	return int64(whole), int64(math.Round(frac * 1e9)), nil
}

func parseDuration(s string) (time.Duration, error) {
	sec, nsec, err := parseSeconds(s)
	return time.Duration(sec)*time.Second + time.Duration(nsec), err
}

func parseTime(s string) (time.Time, error) {
	sec, nsec, err := parseSeconds(s)
	if err != nil || sec == 0 && nsec == 0 {
		return time.Time{}, err
	}
	return time.Unix(sec, nsec).UTC(), nil
}
