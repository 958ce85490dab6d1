"""How long the rest takes."""

from fewshot_nas.cli.pace import Pace


def test_what_is_left_follows_from_what_is_done():
    now, said = [100.0], []
    pace = Pace(20, said.append, lambda: now[0])
    assert pace.left() == ""
    for _ in range(5):
        now[0] += 60
        pace.advance(2)
    assert pace.left() == "about 5.0 min left"
    assert said == ["10 % done, about 9.0 min left", "20 % done, about 8.0 min left", "40 % done, about 6.0 min left"]
    pace.advance(10)
    assert pace.left() == ""
