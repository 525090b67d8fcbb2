// Package sessiontest tests agents and runs sessions without a network.
//
// For agents there are Start and Expect: the test types what the user says (session.Session.Run) and
// looks at what the agent did.
//
//	s := sessiontest.Start(t, session.Options{LLM: model}, newAgent())
//	res, err := s.Run(t.Context(), "What is the weather in Paris?")
//	if err != nil {
//		t.Fatal(err)
//	}
//	e := sessiontest.Expect(t, res)
//	e.NextEvent().IsFunctionCall("lookup_weather", sessiontest.Args{"location": "Paris"})
//	e.NextEvent().IsFunctionCallOutput("sunny")
//	e.NextEvent().IsMessage(chat.Assistant).Judge(t.Context(), judge, "tells that it is sunny")
//	e.NoMoreEvents()
//
// For conversations by voice there is a Transport in memory: a user who speaks when the test says so,
// and a listener who hears in real time or, inside a testing/synctest bubble, in virtual time.
package sessiontest
