package flite

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	experimental "github.com/tetratelabs/wazero/experimental/sys"
)

func TestCleanUp(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"It is fine.", "It is fine."},
		{"It costs €5 million, £1, 20€ and ¥1,000.50!", "It costs 5 million euros, 1 pound, 20 euros and 1,000.50 yen!"},
		{"$3.50 or a few $", "$3.50 or a few dollars"},
		{"Café naïve façade Łódź Müller Straße cafe\u0301", "Cafe naive facade Lodz Mueller Strasse cafe"},
		{"“Don’t” ‘go’ «now»", "\"Don't\" 'go' \"now\""},
		{"one—two – three -- four - five", "one, two, three, four, five"},
		{"5–6 of covid-19, well-known, 5-6", "5 to 6 of covid-19, well-known, 5-6"},
		{"-5 or −7", "minus 5 or minus 7"},
		{"- item", "item"},
		{"--help", "help"},
		{"Wait… no", "Wait... no"},
		{"20°C, 68 °F, 90°.", "20 degrees Celsius, 68 degrees Fahrenheit, 90 degrees."},
		{"2½ and ½", "2 and one half and one half"},
		{"R&D @ #1 #tag a+b=c", "R and D at number 1 hash tag a plus b equals c"},
		{"Mail bob@www.example.com.", "Mail bob at www dot example dot com."},
		{"e.g. <b>bold</b> 1 < 2", "for example bold 1 less than 2"},
		{"a\x00b\x07c\td\ne\u200bf\u00a0g", "abc d ef g"},
		{"Ｈｉ！", "Hi!"},
		{"Hi 👍 you", "Hi you"},
		{"ten 你好 times", "ten times"},
		{"你好", ""}, {"...", ""}, {"", ""}, {"—", ""}, {"©", ""},
	} {
		got, _ := cleanUp(c.text)
		got = strings.NewReplacer(" ,", ",", " .", ".", " !", "!").Replace(got)
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

func TestCleanUpTellsWhatItCannotSay(t *testing.T) {
	for text, want := range map[string]bool{"你好": true, "привет": true, "...": false, "👍": false, "hi 你好": false} {
		if _, lost := cleanUp(text); lost != want {
			t.Errorf("%q: lost is %v", text, lost)
		}
	}
}

func FuzzCleanUp(f *testing.F) {
	f.Add("€5 — “naïve” <b>x</b> 你好\x00")
	f.Fuzz(func(t *testing.T, text string) {
		clean, lost := cleanUp(text)
		for i := range len(clean) {
			if clean[i] < ' ' || clean[i] > '~' {
				t.Fatalf("%q: byte %#x in %q", text, clean[i], clean)
			}
		}
		if strings.HasPrefix(clean, "-") || clean != "" && lost {
			t.Fatalf("%q: %q, lost %v", text, clean, lost)
		}
	})
}

// wav makes a WAV file with an extra chunk in front of its data.
func wav(rate uint32, channels uint16, samples ...int16) []byte {
	b := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00")
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint16(b, channels)
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, 2*rate)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 16)
	b = append(b, "LIST\x03\x00\x00\x00abc\x00data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(2*len(samples)))
	for _, s := range samples {
		b = binary.LittleEndian.AppendUint16(b, uint16(s))
	}
	return b
}

func TestReadWAV(t *testing.T) {
	file := wav(16000, 1, 1, -2, 3)
	got, rate, err := readWAV(file)
	if err != nil || rate != 16000 || !slices.Equal(got, []int16{1, -2, 3}) {
		t.Errorf("%v at %d Hz, %v", got, rate, err)
	}
	if got, _, err := readWAV(file[:len(file)-1]); err != nil || !slices.Equal(got, []int16{1, -2}) {
		t.Errorf("file that ends early: %v, %v", got, err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "text": []byte("can't open file /out.wav"), "stereo": wav(16000, 2, 1, 2), "no rate": wav(0, 1, 1),
		"no data": file[:40], "no format": append(slices.Clone(file[:12]), file[36:]...),
	} {
		if _, _, err := readWAV(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzReadWAV(f *testing.F) {
	f.Add(wav(16000, 1, 1, -2, 3))
	f.Add(wav(8000, 2)[:30])
	f.Fuzz(func(t *testing.T, file []byte) {
		samples, rate, err := readWAV(file)
		if err == nil && (rate < 1000 || len(samples)*2 > len(file)) {
			t.Fatalf("%d samples at %d Hz from %d bytes", len(samples), rate, len(file))
		}
	})
}

func TestTrim(t *testing.T) {
	const rate = 1000 // a sample is a millisecond
	silence := func(n int) []int16 { return make([]int16, n) }
	loud := []int16{5000, 0, 0, -5000}
	for _, c := range []struct {
		lead, tail int
		sentence   bool
		want       int
	}{
		{100, 300, true, 20 + 4 + 120},
		{100, 300, false, 20 + 4 + 60},
		{5, 7, true, 5 + 4 + 7},
		{0, 0, false, 4},
	} {
		in := slices.Concat(silence(c.lead), loud, silence(c.tail))
		if got := trim(in, rate, c.sentence); len(got) != c.want {
			t.Errorf("%+v: %d samples", c, len(got))
		}
	}
	for _, n := range []int{0, 1, 500} {
		if got := trim(silence(n), rate, true); len(got) > 20 {
			t.Errorf("%d samples are left of %d of silence", len(got), n)
		}
	}
}

func TestMemoryFileSystemIsBounded(t *testing.T) {
	var disk memFS
	if _, errno := disk.OpenFile("none", 0, 0); errno != experimental.ENOENT {
		t.Errorf("file that does not exist: %v", errno)
	}
	for i := range maxFiles + 1 {
		_, errno := disk.OpenFile(string(rune('a'+i)), experimental.O_CREAT, 0)
		if (errno == 0) != (i < maxFiles) {
			t.Errorf("file %d: %v", i, errno)
		}
	}
	f, _ := disk.OpenFile("a", experimental.O_CREAT, 0)
	if _, errno := f.Write(make([]byte, maxFile)); errno != 0 {
		t.Fatal(errno)
	}
	if _, errno := f.Write([]byte{0}); errno != experimental.EIO {
		t.Errorf("file over the bound: %v", errno)
	}
	if got := len(disk.take("a")); got != maxFile {
		t.Errorf("%d bytes", got)
	}
	if st, errno := disk.Stat("a"); errno != 0 || st.Size != maxFile {
		t.Errorf("stat: %+v, %v", st, errno)
	}
	if f, _ := disk.OpenFile("a", experimental.O_TRUNC, 0); len(f.(*memFile).data) != 0 {
		t.Error("file was not truncated")
	}
	if dir, _ := disk.Stat("."); !dir.Mode.IsDir() {
		t.Error("root is no folder")
	}
}

func TestMemoryIsZeroWhenLentAgain(t *testing.T) {
	m := memories.Allocate(16, 1024)
	b := m.Reallocate(16)
	for i := range b {
		b[i] = 1
	}
	if b = m.Reallocate(100); len(b) != 100 || b[15] != 1 || b[16] != 0 || b[99] != 0 {
		t.Errorf("after growing: %v", b)
	}
	b[99] = 1
	m.(*memory).bytes = m.(*memory).bytes[:0] // as when it is lent again
	if b = m.Reallocate(100); slices.Max(b) != 0 {
		t.Errorf("after lending again: %v", b)
	}
	m.Free()
}
