from __future__ import annotations

import asyncio
import io
import json
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

import pytest
import uvloop

from epp.core.call import STRIKES, PluginCall, PluginOverrunError
from epp.own.alarm import Alarm
from epp.telemetry import logs
from tests.fakes import FakeProbe
from tests.own.slow import HARD, Mine, for_ever, long_enough, mine, run


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_call_within_its_time_returns_what_it_returns() -> None:
    plugin = mine(lambda: [0.5])
    assert [run(plugin) for _ in range(3)] == [[0.5]] * 3
    assert plugin.budget_seconds == 0.002


def test_a_call_that_never_ends_is_broken_off_each_time() -> None:
    plugin = mine(for_ever)
    for _ in range(3):
        with pytest.raises(PluginOverrunError) as raised:
            run(plugin)
        assert raised.value.seconds >= HARD


def test_nothing_is_raised_once_the_call_is_over() -> None:
    alarm = Alarm()
    plugin = mine(lambda: [1.0], alarm=alarm)
    run(plugin)
    assert alarm.due > 0
    long_enough()
    assert (alarm.due, alarm.running) == (0.0, None)
    run(plugin)
    assert alarm.due > 0


def test_a_call_that_starts_under_an_older_timer_has_its_whole_time() -> None:
    alarm = Alarm()
    plugin = mine(lambda: [1.0], hard=0.05, alarm=alarm)
    run(plugin)
    wait = threading.Event()
    wait.wait(0.03)
    late = mine(for_ever, hard=0.05, alarm=alarm)
    with pytest.raises(PluginOverrunError) as raised:
        run(late)
    assert raised.value.seconds >= 0.05


def test_a_timer_that_somebody_else_stopped_is_set_again() -> None:
    alarm = Alarm()
    run(mine(lambda: [1.0], alarm=alarm))
    signal.setitimer(signal.ITIMER_REAL, 0)
    long_enough()
    with pytest.raises(PluginOverrunError):
        run(mine(for_ever, alarm=alarm))


def test_a_lazy_answer_is_worked_out_within_the_limit() -> None:
    def lazy() -> Iterator[float]:
        yield 1.0
        for_ever()

    with pytest.raises(PluginOverrunError):
        run(mine(lazy))
    assert run(mine(lambda: iter([0.5]))) == (0.5,)
    assert run(mine(lambda: iter([0.5]), hard=0)) == (0.5,)


@pytest.mark.parametrize("hard", [0, HARD])
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
    ],
)
def test_what_would_end_the_process_is_an_error_of_the_call(
    hard: float, error: BaseException, text: str
) -> None:
    def end() -> None:
        raise error

    with pytest.raises(RuntimeError, match=f"^{text}$") as raised:
        run(mine(end, hard=hard))
    assert raised.traceback[-1].name == "end"


@pytest.mark.parametrize("error", [asyncio.CancelledError(), ValueError("no")])
@pytest.mark.parametrize("hard", [0, HARD])
def test_other_exceptions_pass(hard: float, error: BaseException) -> None:
    def fail() -> None:
        raise error

    alarm = Alarm()
    with pytest.raises(type(error)) as raised:
        run(mine(fail, hard=hard, alarm=alarm))
    assert raised.value is error
    assert alarm.running is None


def test_one_who_swallows_is_interrupted_again_and_named_in_the_log() -> None:
    stream = io.StringIO()
    logs.setup(verbosity=0, stream=stream)
    swallowed = 0

    def swallow() -> None:
        nonlocal swallowed
        while swallowed % 4 != 3:
            try:
                for_ever()
            except Exception:
                swallowed += 1
        swallowed += 1

    alarm = Alarm()
    plugin = mine(swallow, alarm=alarm)
    plugin.bind("stubborn")
    for _ in range(2):
        assert run(plugin) == [1.0]
    (line,) = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert line["msg"] == "A plugin cannot be stopped"
    assert (line["plugin"], line["type"], line["method"]) == ("stubborn", "my-scorer", "score")
    assert line["seconds"] >= HARD


def test_each_of_two_nested_calls_has_its_own_limit() -> None:
    alarm = Alarm()
    inner = mine(for_ever, hard=HARD, alarm=alarm)
    seen: list[float] = []

    def outer_work() -> None:
        try:
            run(inner)
        except PluginOverrunError as error:
            seen.append(error.seconds)
        for_ever()

    outer = mine(outer_work, hard=4 * HARD, alarm=alarm)
    with pytest.raises(PluginOverrunError) as raised:
        run(outer)
    assert HARD <= seen[0] <= raised.value.seconds
    assert raised.value.seconds >= 4 * HARD
    assert alarm.running is None


def test_an_inner_call_does_not_pay_for_the_outer_one() -> None:
    alarm = Alarm()
    inner = mine(long_enough, hard=10, alarm=alarm)
    answers: list[Sequence[float]] = []

    def outer_work() -> None:
        answers.append(run(inner))
        for_ever()

    with pytest.raises(PluginOverrunError):
        run(mine(outer_work, alarm=alarm))
    assert answers == [[1.0]]


def test_in_another_thread_a_call_is_not_broken_off() -> None:
    plugin = mine(long_enough)
    answers: list[Sequence[float]] = []
    thread = threading.Thread(target=lambda: answers.append(run(plugin)))
    thread.start()
    thread.join()
    assert answers == [[1.0]]


def test_a_plugin_made_in_another_thread_has_a_budget_and_no_limit() -> None:
    made: list[Mine] = []
    thread = threading.Thread(target=lambda: made.append(mine(long_enough)))
    thread.start()
    thread.join()
    assert made[0].budget_seconds == 0.002
    assert run(made[0]) == [1.0]


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_works_in_an_event_loop_and_leaves_that_alone(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    got: list[str] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, got.append, "usr1")
        alarm = Alarm()
        hung, well = mine(for_ever, alarm=alarm), mine(lambda: [1.0], alarm=alarm)
        for _ in range(3):
            with pytest.raises(PluginOverrunError):
                run(hung)
            assert run(well) == [1.0]
            signal.raise_signal(signal.SIGUSR1)
            await asyncio.sleep(3 * HARD)
        loop.remove_signal_handler(signal.SIGUSR1)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work())
    assert got == ["usr1"] * 3


def test_calls_that_are_broken_off_set_a_plugin_aside() -> None:
    plugin = mine(for_ever, hard=0.005)
    call = PluginCall(plugin, "Scorer", FakeProbe())
    for _ in range(STRIKES):
        assert not call.is_aside
        with pytest.raises(PluginOverrunError) as raised:
            run(plugin)
        call.failed(raised.value)
    assert call.is_aside


def test_calls_that_end_just_then_never_leave_an_exception_behind() -> None:
    hard = 0.0005
    broken_off = 0
    length = 0.0

    def work() -> None:
        end = monotonic() + length
        while monotonic() < end:
            pass

    alarm = Alarm()
    plugin = mine(work, hard=hard, alarm=alarm)
    for i in range(400):
        length = hard * (0.8 + 0.4 * (i % 100) / 100)
        try:
            run(plugin)
        except PluginOverrunError:
            broken_off += 1
        # Whatever is raised from here on would not be caught.
        end = monotonic() + hard / 2
        while monotonic() < end:
            assert alarm.running is None
    assert broken_off > 0
