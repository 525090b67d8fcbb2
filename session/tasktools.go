package session

import (
	"context"
	"slices"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
)

// The tools by which the model looks after calls that still run. Agents have them when one of their
// tools is cancellable.
const (
	cancelTaskName   = "lk_agents_cancel_task"
	runningTasksName = "lk_agents_get_running_tasks"
)

type cancelTask struct {
	CallID string `json:"call_id" jsonschema:"the call id of the task, as lk_agents_get_running_tasks tells it"`
}

// runningTask is a call that still runs, as the model sees it.
type runningTask struct {
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

func (s *Session) newTaskTools() []llm.Tool {
	return []llm.Tool{
		llm.NewTool(cancelTaskName, "Cancel a task that is still running, when the user does not want it any more.",
			func(_ context.Context, _ *agent.RunContext, in cancelTask) (string, error) {
				err := error(agent.ErrNotRunning)
				if r := s.current(); r != nil {
					r.ask(func() { err = r.cancelTask(in.CallID) })
				}
				return "The task was cancelled.", err
			}),
		llm.NewTool(runningTasksName, "List the tasks that are still running.",
			func(_ context.Context, rc *agent.RunContext, _ struct{}) ([]runningTask, error) {
				tasks := []runningTask{}
				if r := s.current(); r != nil {
					r.ask(func() { tasks = r.runningTasks() })
				}
				return tasks, nil
			}),
	}
}

// cancelTask is the tool on the loop.
func (r *run) cancelTask(callID string) error {
	i := slices.IndexFunc(r.calls, func(k *toolCall) bool { return k.item.CallID == callID })
	if i < 0 {
		return llm.ToolErrorf("there is no running task with the call id %q", callID)
	}
	k := r.calls[i]
	if err := k.mayCancel(); err != nil {
		return err
	}
	r.cancelCall(k)
	return nil
}

func (r *run) runningTasks() []runningTask {
	tasks := []runningTask{}
	for _, k := range r.calls {
		if k.item.Name != cancelTaskName && k.item.Name != runningTasksName {
			tasks = append(tasks, runningTask{k.item.CallID, k.item.Name, k.item.Arguments})
		}
	}
	return tasks
}

// toolContext is the tools that an agent with these tools of its own has.
func (s *Session) toolContext(own []llm.Tool) (*llm.ToolContext, error) {
	tools := slices.Concat(s.opt.Tools, own)
	c, err := llm.NewToolContext(tools...)
	if err != nil {
		return nil, err
	}
	for t := range c.All() {
		if t.Cancellable {
			return llm.NewToolContext(slices.Concat(tools, s.taskTools)...)
		}
	}
	return c, nil
}

// tools goes along with the requests of m's agent.
func (s *Session) tools(m *mind) []llm.Tool {
	tools := slices.Concat(s.opt.Tools, m.tools)
	if _, ok := m.all.Get(cancelTaskName); ok {
		tools = append(tools, s.taskTools...)
	}
	return tools
}
