"""Plans of runs by minutes: steps, intervals, and a clock that keeps them."""

import dataclasses

import numpy as np
import pytest

from anyvox_keras.contrastive import RunSettings
from anyvox_keras.training import plan, progress
from anyvox_keras.training.plan import Pace, planned, with_steps


@pytest.mark.parametrize(
    ("pace", "seconds"),
    [
        (Pace(0, 0.5, 4), 300),
        (Pace(20, 2, 30), 900),
        (Pace(5, 0.01, 0), 60),
        (Pace(0, 9, 200), 300),
    ],
)
def test_a_plan_fills_the_time_and_no_more(pace, seconds):
    settings = planned(RunSettings(), pace, seconds)
    assert pace.length(settings) <= seconds
    assert pace.length(settings) >= 0.9 * seconds - pace.step - pace.validation
    checks = -(-settings.steps // settings.validate_every)
    assert checks <= 10
    assert checks == 1 or checks * pace.validation <= 0.15 * seconds
    assert settings.validate_every % settings.log_every == 0


def test_what_is_given_is_kept():
    settings = with_steps(RunSettings(validate_every=75, pictures_every=50), 1000)
    assert (settings.steps, settings.validate_every, settings.log_every) == (1000, 75, 25)
    settings = with_steps(RunSettings(log_every=7), 1000)
    assert (settings.log_every, settings.validate_every) == (7, 105)


def test_a_clock_changes_the_plan_where_the_pace_changes(monkeypatch):
    settings = RunSettings(steps=100, minutes=100 / 60, log_every=10, validate_every=50)
    now = [1000.0]
    monkeypatch.setattr(progress.time, "time", lambda: now[0])
    clock = progress.Clock(deadline=1100.0)
    now[0] = 1010.0
    assert clock.replan(10, settings) is None  # a second a step, as planned
    now[0] = 1040.0
    # The next ten took three each: of the 60 s left 58.8 are planned with.
    assert clock.replan(20, settings) == 20 + int(0.98 * 60 / 3)


@pytest.mark.parametrize(("start", "most"), [(0.0, 7), (25.0, 5)])
def test_a_clock_keeps_the_end_where_other_work_comes_and_goes(start, most, monkeypatch):
    # every 30 to 60 s the steps take 1, 1.5 or 2 s; the plan knew of 1
    rng = np.random.default_rng(0)
    now = [0.0]
    monkeypatch.setattr(progress.time, "time", lambda: now[0])
    missed = []
    for _ in range(20):
        now[0], step, changes, load_until, length = 0.0, 0, 0, 0.0, 1.0
        settings = RunSettings(steps=600 - int(start), minutes=10, validate_every=150)
        clock = progress.Clock(deadline=600.0, start=start)
        now[0] += start
        while step < settings.steps:
            if now[0] >= load_until:
                length, load_until = rng.choice([1, 1.5, 2]), now[0] + rng.uniform(30, 60)
            now[0] += length
            step += 1
            steps = clock.replan(step, settings) if step % 15 == 0 else None
            if steps and step < settings.steps:
                settings = dataclasses.replace(settings, steps=steps)
                changes += 1
                now[0] += start
        missed.append(abs(now[0] - 600) / 600)
        assert changes <= most
    assert max(missed) < 0.1


def test_lengths_are_told_in_their_unit():
    told = [plan.duration(seconds) for seconds in (41, 300, 3600, 7 * 3600, 91 * 86400)]
    assert told == ["41 seconds", "5 minutes", "60 minutes", "7 hours", "91 days"]
