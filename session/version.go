package session

// Version is the version of Parley.
const Version = "0.1.0"
