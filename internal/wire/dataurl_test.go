package wire

import "testing"

func TestDataURL(t *testing.T) {
	for url, want := range map[string][2]string{
		"data:image/png;base64,aGk=":                {"image/png", "aGk="},
		"data:image/jpeg;charset=utf-8;base64,aGk=": {"image/jpeg", "aGk="},
		"data:;base64,":                             {"", ""},
	} {
		if mime, data, ok := DataURL(url); !ok || mime != want[0] || data != want[1] {
			t.Errorf("%s: %q, %q, %v", url, mime, data, ok)
		}
	}
	for _, url := range []string{"", "https://example.test/a.png", "data:text/plain,hello", "data:image/png;base64", "data:image/png;base64,!"} {
		if _, _, ok := DataURL(url); ok {
			t.Errorf("%q was taken", url)
		}
	}
}
