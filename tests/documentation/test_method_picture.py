"""The picture of the method is what its script draws."""

from xml.etree import ElementTree

from tests.script_module import load_script


def test_the_picture_is_what_its_script_draws():
    script = load_script("method_picture")
    assert script.main(["--check"]) == 0, "python scripts/method_picture.py writes it"
    assert ElementTree.fromstring(script.picture()).tag.endswith("svg")
