"""The fixed words of the report in English: headings, labels, codes put in words.

Verdict codes and numbers are the same in every language; another language is another pair of this module and
``sentences``, with the same names.
"""

from protocol.plan import Alternative, Strata
from protocol.results import NullMethod, VerdictCode
from shared.pages.contents import CellState

RHO = "\N{GREEK SMALL LETTER RHO}"
VERDICT_WORDS = {VerdictCode.FOUND: "Found", VerdictCode.NOT_FOUND: "Not found", VerdictCode.REFUSED: "Refused"}
VERDICT_ICONS = {VerdictCode.FOUND: "✓", VerdictCode.NOT_FOUND: "○", VerdictCode.REFUSED: "✕"}
REPORT = "Study report"
CONTENTS = "Contents"
FINDING = "Finding"
FIGURE = "Figure"
TABLE = "Data"
CONFIDENCE = "How sure"
LIMITS = "What this does not show"
FILTER = "Filter rows"
SORT = "Sort by"
CARD = "The study"
EXCLUDED = "Lots not used"
FOREST = "Every cluster against potency"
LEADS = "The leading cluster, lot by lot"
PANELS = "Every cluster, lot by lot"
COMPOSITION = "What each lot is made of"
QUALITY = "Mapping quality, missing and suppressed values"
SENSITIVITY = "Would another reasonable choice change the answer?"
VALIDATION = "Does it hold in new lots?"
METHODS = "Methods"
DEVIATIONS = "Remarks and deviations"
DOWNLOADS = "Files inside this page"
PROVENANCE = "Where this comes from"
NO_DEVIATIONS = "None was recorded."
KEY = "How to read the cells"
WITHOUT_SCRIPT = "Sorting and filtering need JavaScript; nothing else on this page does."
SHARES_ONLY = "shares only"
UNASSIGNED = "unassigned"
UNASSIGNED_SHORT = "–"
ALL_SITES = "all sites"
LOTS_TABLE = "Lots behind the figure"
NOT_TESTED = "not asked"
MISSING = "missing"
ZERO = "0"
SUPPRESSED_EXAMPLE = "< 5"
CELL_MEANINGS = {
    CellState.ZERO: "no cell",
    CellState.SUPPRESSED: "suppressed by the site: known as a range only",
    CellState.MISSING: "was due and did not come",
    CellState.NOT_ASKED: "not part of the plan",
}
SIGNIFICANT = "✓ significant"
NOT_SIGNIFICANT = "not significant"
DRAGGED = "only with the lead"
HOLDS = "✓ holds"
NOT_SHOWN = "○ not shown"
DOES_NOT_HOLD = "✕ does not hold"
NOT_ELIGIBLE = "– not eligible"
NOT_TESTABLE = "– not tested"
ALL_TISSUES = "all tissues, stratified"
EDITION_NAMES = {"coordinator": "Coordinator's edition", "site": "Edition for site {site}", "public": "Public edition"}
EDITION_SENTENCES = {
    "coordinator": "Holds every lot of every site. Not for sites or for publication.",
    "site": "Holds this site's own lots and aggregates. No other site's lot is in it, nor in its source.",
    "public": "Holds aggregates only. No lot and no site's name is in it, nor in its source.",
}
ALTERNATIVES = {
    Alternative.TWO_SIDED: "two-sided",
    Alternative.GREATER: "one-sided, greater",
    Alternative.LESS: "one-sided, less",
}
DIRECTIONS = {
    Alternative.TWO_SIDED: "two-sided",
    Alternative.GREATER: "greater",
    Alternative.LESS: "less",
}
STRATA = {
    Strata.SITE_AND_TISSUE: "site and tissue",
    Strata.SITE: "site",
    Strata.TISSUE: "tissue",
    Strata.NONE: "none (one stratum)",
}
NULL_METHODS = {
    NullMethod.EXACT: "exact",
    NullMethod.PERMUTATION: "draws",
    NullMethod.UNDEFINED: "not defined",
}
NOTHING_DEFINED = "No cluster's association is defined: no share or no potency varies between the lots."
NOT_VALIDATED = "No validation lots have tested it yet: take it as a hypothesis."
SURE_REFUSED = "No p-value was computed, so nothing can be said either way. The lots are shown as they are."
LIMIT_ABSENCE = "That no association exists. Not significant means not shown with these lots."
LIMIT_CAUSE = "A cause. Lots were observed, not altered; what follows potency may do so through something else."
LIMIT_SHARES = "A change in numbers. Shares of a lot sum to 100%, so one cluster's rise is others' fall."
LIMIT_SPECIFICATION = "A specification. A limit for release needs its own analysis with its own error rates."
LIMIT_REFUSED = "Whether any cluster follows potency: a design that cannot reach its own alpha is not tested at all."
FACT_QUESTION = "Question"
FACT_STUDY = "Study"
FACT_SITES = "Sites"
FACT_LOTS = "Lots used"
FACT_VALIDATION = "Validation lots"
FACT_EXCLUDED = "Lots not used"
FACT_POTENCY = "Potency"
FACT_ATLAS = "Atlas"
FACT_PLAN_HASH = "Plan SHA-256"
FACT_ATLAS_HASH = "Atlas SHA-256"
FACT_SOFTWARE = "Software"
FACT_EDITION = "Edition"
FACT_TEST = "Test"
FACT_SEED = "Seed"
FACT_PARITY = "Federated against pooled"
FACT_SHOWN = "Lots shown here"
FACT_RESULTS_HASH = "Results SHA-256"
SITES_NOT_NAMED = "not named in this edition"
NO_PLAN = "none: these are plain tables, analysed without a signed plan"
NO_ATLAS = "none: the clusters are the columns of a table"
FOREST_LEGEND_POINT = "estimate, not significant"
FOREST_LEGEND_SIGNIFICANT = "estimate, significant"
FOREST_LEGEND_SUPPRESSED = "where ρ may lie given suppressed counts"
FOREST_ZERO = "no association"
MORE_SITES = "and more"
COLUMN_CLUSTER = "Cluster"
COLUMN_RHO = RHO
COLUMN_POOLED = f"pooled {RHO}"
COLUMN_P = "p"
COLUMN_ADJUSTED = "adjusted p"
COLUMN_Q = "q (BH)"
COLUMN_LOTS = "lots"
COLUMN_METHOD = "p / adjusted p"
COLUMN_SIGNIFICANT = "after correction"
COLUMN_LOT = "Lot"
COLUMN_SITE = "Site"
COLUMN_TISSUE = "Tissue"
COLUMN_COHORT = "Cohort"
COLUMN_SHARE = "share of lot (%)"
COLUMN_CELLS = "cells"
COLUMN_REASON = "Reason"
COLUMN_ENDPOINT = "Endpoint"
COLUMN_INTERVAL = "interval"
COLUMN_CODE = "Code"
COLUMN_BOUNDS = "bounds if suppressed"
COLUMN_STATE = "Result"
COLUMN_DIRECTION = "direction"
COLUMN_ALL_CELLS = "cells after QC"
COLUMN_UNASSIGNED = "unassigned (%)"
COLUMN_COUNTS = "UMI per cell (median)"
COLUMN_GENES = "genes per cell (median)"
COLUMN_MITO = "mitochondrial (% of UMI, median)"
COLUMN_COVERAGE = "atlas genes present (%)"
COLUMN_LOT_OUT = f"{RHO}, one lot left out"
COLUMN_SITE_OUT = f"{RHO}, one site left out"
COLUMN_CLR = f"{RHO} of CLR"
COLUMN_LEAD_REMOVED = f"{RHO} without the lead (p)"
COLUMN_HETEROGENEITY = "I² between sites"
COLUMN_DISATTENUATED = f"{RHO} without measurement error"
COLUMN_SIGN = "sign"
SIGN_HOLDS = "holds"
SIGN_TURNS = "turns"
NOT_COMPUTED = "–"
SHARE_SHORT = "share (%)"
COMPOSITION_AXIS = "share of the lot's cells after QC"
SUPPRESSED_LEGEND = "suppressed: range"
MEANS_ONLY = "This edition may show averages only."
COMPOSITION_NOTHING = "Too few lots of too few sites for an average that would hide each of them: nothing can be shown."
COMPOSITION_PLAIN = "No cluster leads here; clusters stand in the order of their mean share."
DISCOVERY = "discovery"
VALIDATION_ROLE = "validation"
RANGES_LOTS = "one lot left out"
RANGES_SITES = "one site left out"
RANGES_ALL = "all lots"
NO_SUPPRESSION = "No count of the lots used is suppressed."
VALIDATION_SENTENCE = (
    "One panel a tissue and cluster, tested in the direction found in discovery only; axes differ between panels."
)
QUALITY_ABSENT = "No mapping quality was reported."
QUALITY_WITHHELD = "Quality is kept lot by lot, so this edition holds none of it."
WITHHELD_SENTENCE = "The reason is withheld: it may name lots that this edition does not hold."
DOWNLOAD_ASSOCIATIONS = "every cluster with all its statistics"
DOWNLOAD_LOTS = "cells per lot and cluster, long form; -5 means fewer than 5"
DOWNLOADS_WITHOUT_LOTS = "The lots are too many for a file inside this page."
DOWNLOAD_RESULTS = "the results as this edition may hold them, for programs"
PRINTED = "On paper, the tables of this report hold the same numbers."
