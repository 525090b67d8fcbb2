package turn

import "strings"

// class is a set of kinds of words.
type class uint32

// The kinds of words. A word may be of several.
const (
	conjunction class = 1 << iota // nothing ends with it: and, because, whether
	preposition                   // seldom ends a sentence: of, with, from
	particle                      // may belong to a verb before it: on, up, off
	determiner                    // the, a, my
	filler                        // um, like, well
	auxiliary                     // is, do, would, don't, it's
	subject                       // I, he, they
	object                        // it, me, them
	transitive                    // wants something behind it: want, need, buy
	acting                        // the same, but only behind "to", "you" or a subject: change, check
	giving                        // followed by a person and a thing: tell, give
	degree                        // very, more, about
	asking                        // what, who, how
	verb                          // other common verbs
	closing                       // please, thanks, tomorrow
	opener                        // if, when: begins a clause before the main one
	attribute                     // stands before a noun: large, next, pair
	affirmation                   // yes, no, okay
	month
	spelledDigit // zero to nine
	spelledTeens // ten to nineteen and the tens
	command      // begins a command: play, set, turn
)

var classes = func() map[string]class {
	m := map[string]class{}
	for c, words := range map[class]string{
		conjunction: "and or but because cause cuz if when while although though since unless until whether than as so that which plus except",
		preposition: "of to for with from at into between by via about without under against toward towards during near like until upon within regarding per in after before",
		particle:    "on in off up out over down around back through away",
		determiner:  "the a an my your our their its every his",
		filler:      "um uh uhm umm er erm hmm hm mm ah eh like well so actually basically anyway alright",
		auxiliary: "is are was were am be been will would could can should shall may might must have has had do does did " +
			"i'm it's that's there's he's she's what's who's where's you're we're they're i'll you'll we'll they'll it'll " +
			"i'd you'd we'd they'd he'd she'd i've you've we've they've " +
			"don't doesn't didn't can't couldn't won't wouldn't isn't aren't wasn't weren't haven't hasn't shouldn't not",
		subject:    "i he she we they",
		object:     "it me you them him us her this that ones these those mine yours",
		transitive: "want wants wanted need needs needed wanna gonna gotta trying looking wondering calling buy buying bought lost prefer love have has had got get gets find says say said saying saw make makes keeps take took bring use mean means think thought guess know feel feels costs depends",
		acting:     "change check ask send order book add reserve find see schedule return exchange confirm update verify bring pick set read write try cancel discuss report track",
		giving:     "tell told give gave send sent show showed let ask asked call get bring",
		degree:     "so very quite pretty more most less almost either around about only even just also maybe another both sometimes sometime first rather roughly",
		asking:     "what who where when why which how whose what's who's where's how's",
		verb:       "sounds looks seems work works worked working go goes going went gone come came call called pay paid cancel canceled cancelled change changed help helped talk speak spoke order ordered open opened close closed start started stop stopped happen happened live lives stay staying broke break arrived arrive forgot forget try tried hear heard see seen see keep kept turn play set add book reserve check read wait waiting waited leave left leaving reset restart log sign like liked hate moved move hope agree care understand remember repeat explain shipped deliver delivered charged locked fit doesn't went wrong failed fix fixed",
		closing:    "please thanks thank bye goodbye today tomorrow yesterday tonight now again later already anymore instead too ok okay either though anyway soon right here there everything yet morning afternoon evening monday tuesday wednesday thursday friday saturday sunday weekend",
		opener:     "if when while because since after before once although though as until unless whenever even",
		attribute:  "large small big medium new old good nice little cheap cheapest best pair couple glass cup bottle bunch lot kind sort type few next other first last same different second third area bigger smaller whole",
		affirmation: "yes yeah yep yup no nope nah ok okay sure right correct exactly absolutely definitely certainly fine great perfect awesome cool " +
			"thanks hello hi hey bye goodbye pardon huh wow maybe never really sorry",
		month:        "january february march april may june july august september october november december",
		spelledDigit: "zero oh o one two three four five six seven eight nine",
		spelledTeens: "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety",
		command:      "turn play set add call open close lock unlock stop start pause cancel remind wake book schedule send show tell read go switch dim increase decrease skip find give say dial forget",
	} {
		for w := range strings.FieldsSeq(words) {
			m[w] |= c
		}
	}
	return m
}()

// whole are utterances that are complete as they are.
var whole = phrases(`
	yes|yeah|yep|yup|no|nope|nah|ok|okay|sure|right|correct|exactly|absolutely|definitely|certainly|fine|great|perfect|awesome|cool
	thanks|thank you|thank you so much|thanks a lot|hello|hi|hey|hi there|hello there|hey there|bye|goodbye|bye bye|see you|see you later
	good morning|good afternoon|good evening|good night|how are you|how are you doing|how about you|what about you
	pardon|pardon me|excuse me|sorry|huh|what|why|who|how|when|where|wow|really|maybe|maybe later|not really|not yet|not at all|not now|never
	uh huh|mm hmm|of course|why not|no thanks|no thank you|yes please|no problem|sounds good|go ahead|go on|got it|never mind|nevermind|forget it
	i see|please do|yes i do|i think so|i guess so|i hope so|i don't think so|i don't know|i don't care|i'm not sure|i agree|i understand
	that's it|that's all|that's right|that's correct|that's fine|that's wrong|that's good|you too|me too|same here
	stop|pause|cancel|help|repeat|who is this|who are you|where are you|is that all|will do|let's do it|let's go|stop it|something like that|it depends`)

// announcing are ends that promise more.
var announcing = phrases(`
	i would like|i'd like|we'd like|we would like|would you mind|i was wondering|the thing is|the problem is|the reason is|what i mean is|i mean|you know
	such as|for example|for instance|instead of|because of|as well|as well as|at least|at most|more than|less than|kind of|sort of|a lot of|something like
	number is|name is|address is|email is|code is|it is called|let me see|let's see|let me think|let me check|hold on|hang on|wait|one moment|one second
	just a second|just a minute|a second|a moment|one moment please|give me a second|give me a minute|i don't|i think|i guess|i was|i feel like|looks like|it says
	what about|how about|even though|as long as|and then|and also|or maybe|but first|area code|even if|my wallet|looking for|my name|my number|my address|my email|the name|could you please|can you please|would you please|able to|used to|supposed to`)

func phrases(s string) map[string]bool {
	m := map[string]bool{}
	for p := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '|' || r == '\n' }) {
		if p = strings.TrimSpace(p); p != "" {
			m[p] = true
		}
	}
	return m
}
