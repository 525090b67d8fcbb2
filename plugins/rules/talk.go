package rules

import (
	"slices"
	"strconv"
	"strings"
)

// story is long enough for a listener to lose patience.
var story = []string{
	"Once upon a time there was a lighthouse keeper who lived on a small island with her old dog.",
	"Every evening she climbed two hundred steps to light the lamp, and the dog waited for her at the door.",
	"One winter night the storm was so strong that the lamp went out, and a ship was on its way to the harbour.",
	"She had no oil left and no radio, so she took the brass bell from the kitchen and carried it up the stairs.",
	"All night long she rang the bell, and the dog barked along with it as loudly as he could.",
	"The captain of the ship heard them through the wind, turned the wheel, and missed the rocks by the length of a boat.",
	"In the morning the whole crew came over in a rowing boat, bringing bread, oil, and a bone as long as an arm.",
	"From that day on, every ship that passed the island rang its bell once, and the dog always answered.",
}

// about is what can be said of anything.
var about = []string{
	"You would like to hear about %s, and I am glad you asked.",
	"I have to say first that I am only a few rules in a program, so I know nothing about %s that you could not find in a book.",
	"But I can tell you how I would begin, if I wanted to learn about %s.",
	"First I would look for somebody who has spent many years with it, and ask what surprised them most.",
	"Then I would read one short text and one long one, and compare where the two of them disagree.",
	"After that I would try to explain %s to a friend, because that shows best what one has not understood.",
	"And in the end I would come back to you, and we could talk about %s for as long as you like.",
}

// talk tells a story, or something about a topic, when asked to.
func talk(words []word) (answer, bool) {
	if has(words, "story", "fairy tale", "tell me something", "talk for a while") {
		return answer{text: strings.Join(story, " ")}, true
	}
	for _, p := range []string{"tell me about", "tell me more about", "talk about", "explain", "what do you know about"} {
		if i := find(words, p); i >= 0 && i < len(words) {
			topic := phrase(words[i:])
			return answer{text: strings.ReplaceAll(strings.Join(about, " "), "%s", topic)}, true
		}
	}
	return answer{}, false
}

var numerals = strings.Fields("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty")

// maxCount is where counting ends.
const maxCount = 200

// count counts aloud.
func count(words []word) (answer, bool) {
	if !has(words, "count to", "count up to", "count from one to") {
		return answer{}, false
	}
	n, ok := number(words)
	if !ok || n < 1 {
		return answer{}, false
	}
	var said []string
	for i := 1; i <= min(n, maxCount); i++ {
		if i < len(numerals) {
			said = append(said, numerals[i])
		} else {
			said = append(said, strconv.Itoa(i))
		}
	}
	return answer{text: sentence(strings.Join(said, ", "))}, true
}

// number is the last number among the words.
func number(words []word) (int, bool) {
	for _, w := range slices.Backward(words) {
		if n, err := strconv.Atoi(w.norm); err == nil {
			return n, true
		}
		if i := slices.Index(numerals, w.norm); i >= 0 {
			return i, true
		}
		for i, ten := range []string{"thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred"} {
			if w.norm == ten {
				return 10 * (i + 3), true
			}
		}
	}
	return 0, false
}
