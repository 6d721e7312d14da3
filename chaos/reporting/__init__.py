"""What is left of a run for people and for programs: a verdict with its reasons, verdict.json, and one report.html.

    case = examine(...)          for each scenario: read its history, judge it              (`cases`)
    write(root, cases)           verdict.json and report.html                               (`writing`)

    verdict     the rules: passed, failed or inconclusive, and why
    summary     verdict.json
    timeline    who led, who answered, how much was acknowledged, over time; `strips` draws it
    page        the whole report;  section: one scenario;  dots: distributions;  markup: text that cannot become HTML

Rules of this package: no clock, no network; no file but those of the report itself, in `cases` and `writing`.
"""
