package workertest

import (
	"context"
	"strings"
	"testing"

	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/worker"
)

func TestModelsAreToldTheJob(t *testing.T) {
	told := make(chan [2]model.Job, 1)
	sc := newScene(t, func(ctx context.Context, job *worker.Job, _ *scene) error {
		before := model.JobOf(ctx)()
		_, err := job.Room().Connect(ctx)
		told <- [2]model.Job{before, model.JobOf(ctx)()}
		return err
	}, func(o *worker.Options) { o.AgentName = "" })
	sc.dial(sc.name)
	job := next(t, sc.jobs)
	got := next(t, told)
	for i, agent := range []string{"", agentIn(t, sc.name).Sid} {
		if j := got[i]; j.ID != job.ID() || !strings.HasPrefix(j.RoomID, "RM_") || j.AgentID != agent {
			t.Errorf("told %+v of job %s, want agent %q", j, job.ID(), agent)
		}
	}
	job.Shutdown("enough")
	sc.quiet()
}
