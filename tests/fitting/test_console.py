"""What a person reads of the commands that a run gives."""

import io

from fewshot_nas.fitting.console import Said


def test_all_goes_to_the_log_and_warnings_and_now_and_then_a_pace_to_a_person():
    log, heard, now = io.StringIO(), [], [0.0]
    said = Said(log, heard.append, 400.0, clock=lambda: now[0])
    for second in range(0, 121, 10):
        now[0] = float(second)
        print(f"epoch {second}/120; loss 2.0; top-1 {second}.00 %; 80 images/s; about {120 - second} s left", file=said)
    said.write("warning: the mean top-1 is low")
    assert heard == [
        "      epoch 50/120; top-1 50.00 %; about 70 s left",
        "      epoch 100/120; top-1 100.00 %; about 20 s left",
    ]
    said.write(": nothing was learned\nwritten: a.pth\n")
    assert heard[2:] == ["      warning: the mean top-1 is low: nothing was learned"]
    assert log.getvalue().count("\n") == 15


def test_short_steps_are_quiet():
    heard = []
    said = Said(io.StringIO(), heard.append, 10.0, clock=lambda: 29.0 if heard is None else 0.0)
    print("step 1 of 2: about 3 s left", file=said)
    assert heard == []
