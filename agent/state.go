package agent

// State is what an agent is doing.
type State string

// The states of an agent.
const (
	Initializing State = "initializing"
	Idle         State = "idle"
	Listening    State = "listening"
	Thinking     State = "thinking"
	Speaking     State = "speaking"
)

// UserState is what the user is doing.
type UserState string

// The states of a user.
const (
	UserListening UserState = "listening"
	UserSpeaking  UserState = "speaking"
	UserAway      UserState = "away"
)
