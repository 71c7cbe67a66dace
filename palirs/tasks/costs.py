"""The task that tells what a study will do and cost."""

from palirs.lock import holder
from palirs.planning.plan import plan
from palirs.planning.work import workers
from palirs.recipes import PalirsError
from palirs.study.session import Session
from palirs.study.task import task


@task(lock=False, engine=False)
def check(session: Session, measure: bool) -> None:
    """Print what the study will do and what it will cost; compute nothing.

    Parameters
    ----------
    session : Session
        The study.
    measure : bool
        First measure how fast this machine is at it.
    """
    settings, recipes = session.settings, session.settings.executor
    if measure:
        if not all(map(workers, (recipes.labels, recipes.training, recipes.md))):
            raise PalirsError(
                "task.measure = true: it would measure Slurm jobs; give executor=laptop for the "
                "rates of this machine"
            )
        from palirs.planning.measuring import measure as measure_rates  # torch and mace

        executors = (session.labeller.executor, session.training_executor, session.md_executor)
        measure_rates(settings, session.molecules, executors)
    if at_work := holder(session.directory):
        print(f"at work now            {at_work}")
    print("\n".join(plan(settings, session.molecules, session.directory)))
