"""The decision path as a figure: four questions downwards, an outcome to the right of each, and the last below.

The branch that was taken is drawn thick and closed by a double frame with the word "taken"; a branch that was left
aside is dashed, and its reason stands in the question's box. Nothing is told by colour.
"""

from markupsafe import Markup

from shared.comparability import sentences
from shared.comparability.findings import Findings, Outcome, Step, StepName
from shared.drawing.svg import drawing, element, line, rectangle, text, text_width

_WIDTH = 860
_LEFT, _QUESTION_WIDTH = 8, 470
_RIGHT, _OUTCOME_WIDTH = 600, 252
_STEP_HEIGHT, _GAP, _OUTCOME_HEIGHT = 74, 30, 46
_SMALL, _LINES = 11.5, 2
_NO_OUTCOME = {StepName.METHOD: Outcome.METHOD_INADEQUATE, StepName.POWER: Outcome.INSUFFICIENT_DATA}
_YES_OUTCOME = {StepName.ALIKE: Outcome.HIGHLY_SIMILAR, StepName.APART: Outcome.NOTABLE_DIFFERENCE}


def path_drawing(findings: Findings, identifier: str) -> Markup:
    """Return the path that led to the outcome."""
    marks: list[Markup] = []
    y = 4.0
    for step in findings.path:
        marks += _step(findings, step, y)
        y += _STEP_HEIGHT + _GAP
    last = findings.path[-1]
    taken = findings.outcome is Outcome.SUSPECTED_SIMILAR
    marks += _outcome(Outcome.SUSPECTED_SIMILAR, _LEFT + _QUESTION_WIDTH / 2 - _OUTCOME_WIDTH / 2, y, taken=taken)
    return drawing(
        identifier,
        width=_WIDTH,
        height=y + _OUTCOME_HEIGHT + 8,
        title="The decision path",
        description=" ".join(
            f"{sentences.QUESTIONS[each.name]} {_answer(findings, each)}." for each in (*findings.path,)
        )
        + f" Outcome: {sentences.WORDS[findings.outcome]}."
        + ("" if last.reached else " Later questions did not decide."),
        content=marks,
    )


def wrapped(content: str, size: float, room: float, most: int) -> tuple[str, ...]:
    """Return a text in at most ``most`` lines, each no wider than ``room``; what is left over becomes an ellipsis.

    >>> wrapped("one two three four", 10, 60, 2)
    ('one two', 'three four')
    """
    lines: list[str] = []
    for word in content.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= room:
            lines[-1] += f" {word}"
        elif len(lines) < most:
            lines.append(word)
        else:
            lines[-1] += " …"
            break
    return tuple(lines)


def _answer(findings: Findings, step: Step) -> str:
    word = {True: "Yes", False: "No", None: "Not asked"}[step.answer]
    aside = "" if step.reached else "Not reached; it would be: "
    return f"{aside}{word if step.reached else word.lower()} ({sentences.step_reason(findings, step)})"


def _step(findings: Findings, step: Step, y: float) -> list[Markup]:
    style = "path-box reached" if step.reached else "path-box"
    marks = [
        rectangle(_LEFT, y, _QUESTION_WIDTH, _STEP_HEIGHT, class_=style),
        text(_LEFT + 12, y + 21, sentences.QUESTIONS[step.name], class_="label strong" if step.reached else "label"),
    ]
    told = wrapped(_answer(findings, step), _SMALL, _QUESTION_WIDTH - 24, _LINES)
    marks += [text(_LEFT + 12, y + 41 + 16 * number, each, class_="small") for number, each in enumerate(told)]
    outcome, to_the_right = _branch(step.name)
    taken_right = step.reached and step.answer is to_the_right
    middle, down = y + _STEP_HEIGHT / 2, y + _STEP_HEIGHT
    centre = _LEFT + _QUESTION_WIDTH / 2
    marks += _arrow(_LEFT + _QUESTION_WIDTH, middle, _RIGHT, middle, taken=taken_right)
    marks += _arrow(centre, down, centre, down + _GAP, taken=step.reached and not taken_right)
    yes, no = ("yes", "no") if to_the_right else ("no", "yes")
    marks += [
        text(_LEFT + _QUESTION_WIDTH + 10, middle - 7, yes, class_="label strong" if taken_right else "small"),
        text(centre + 10, down + 21, no, class_="label strong" if step.reached and not taken_right else "small"),
    ]
    return [*marks, *_outcome(outcome, _RIGHT, middle - _OUTCOME_HEIGHT / 2, taken=findings.outcome is outcome)]


def _branch(name: StepName) -> tuple[Outcome, bool]:
    """Return the outcome to the right of a question, and the answer that leads there."""
    return (_NO_OUTCOME[name], False) if name in _NO_OUTCOME else (_YES_OUTCOME[name], True)


def _outcome(outcome: Outcome, x: float, y: float, *, taken: bool) -> list[Markup]:
    marks = [rectangle(x, y, _OUTCOME_WIDTH, _OUTCOME_HEIGHT, class_="path-box outcome" if taken else "path-box aside")]
    if taken:
        marks.append(rectangle(x + 4, y + 4, _OUTCOME_WIDTH - 8, _OUTCOME_HEIGHT - 8, class_="path-inner"))
    word = sentences.WORDS[outcome]
    marks.append(text(x + 14, y + 20, word, class_="label strong" if taken else "label"))
    code = f"{outcome.value}, taken" if taken else outcome.value
    marks.append(text(x + 14, y + 36, code, class_="small"))
    return marks


def _arrow(x1: float, y1: float, x2: float, y2: float, *, taken: bool) -> list[Markup]:
    head = f"{x2:.1f},{y2:.1f} " + (
        f"{x2 - 9:.1f},{y2 - 5:.1f} {x2 - 9:.1f},{y2 + 5:.1f}"
        if x2 > x1
        else f"{x2 - 5:.1f},{y2 - 9:.1f} {x2 + 5:.1f},{y2 - 9:.1f}"
    )
    style = "path-line taken" if taken else "path-line"
    return [
        line(x1, y1, x2, y2, class_=style),
        element("polygon", points=head, class_="path-head taken" if taken else "path-head"),
    ]
