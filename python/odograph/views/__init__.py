"""Views: what a history means to a reader.

Pure functions from histories and their columns to small dataclasses, and from those to lines of text.
They count and name; nothing here decodes, opens files or loops over instructions.
"""

from odograph.views.calltree import CallTreeNode, call_tree, call_tree_lines
from odograph.views.costs import FunctionCost, cost_lines, function_costs, merged_costs
from odograph.views.covered import Covered, CoveredFunction, covered, covered_lines
from odograph.views.functions import FunctionCount, function_lines, functions, modules
from odograph.views.gaps import GapGroup, gap_groups, gap_lines
from odograph.views.summary import Summary, ThreadSummary, summarise, summary_lines

__all__ = [
    "CallTreeNode",
    "Covered",
    "CoveredFunction",
    "FunctionCost",
    "FunctionCount",
    "GapGroup",
    "Summary",
    "ThreadSummary",
    "call_tree",
    "call_tree_lines",
    "cost_lines",
    "covered",
    "covered_lines",
    "function_costs",
    "function_lines",
    "functions",
    "gap_groups",
    "gap_lines",
    "merged_costs",
    "modules",
    "summarise",
    "summary_lines",
]
