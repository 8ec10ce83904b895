"""The demo: a simulated study, the model study by default, written as folders of cells and run through real agents."""

import shutil
from pathlib import Path

from shared.runtime.console import progress, remark
from shared.runtime.files import appearing_whole
from simulations.experiment import RunOutcome, run_study
from simulations.scenarios import scenario_named
from simulations.study_writer import demo_steps, write_demo_study

STUDY_FOLDER = "study"
DEFAULT_SCENARIO = "model-study"


def run_demo(out: Path, *, seed: int, scenario_name: str = DEFAULT_SCENARIO) -> RunOutcome:
    """Write a simulated study and run it; ``out`` becomes the run's folder, the study itself inside it.

    Raises
    ------
    InputError
        ``out`` holds something that is no earlier run, or there is no scenario of that name.
    """
    scenario = scenario_named(scenario_name)
    with appearing_whole(out, replaces="results.json") as work:
        study = work / STUDY_FOLDER / scenario.name
        with progress("simulating cells", demo_steps(scenario), unit="steps") as advance:
            write_demo_study(study, seed=seed, progress=advance, scenario=scenario)
        outcome = run_study(study, work / "run")
        for path in sorted((work / "run").iterdir()):
            path.rename(work / path.name)
        shutil.rmtree(work / "run")
    remark(f"the simulated study, cells and truth included, is in {out / STUDY_FOLDER}")
    return outcome
