"""What dashboards are made of: panels, variables, annotations, in one style.

Decides looks: units, widths, legends, the grid. Refuses to know any metric of bidplane's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from grafana_foundation_sdk.builders import (
    common as common_builders,
)
from grafana_foundation_sdk.builders import (
    dashboard as builders,
)
from grafana_foundation_sdk.builders import (
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models import prometheus as queries

WIDTH: Final = 24
TALL: Final = 8
SHORT: Final = 4
RATE: Final = "[$__rate_interval]"
SECONDS: Final = "s"
SHARE: Final = "percentunit"
COUNT: Final = "short"
BYTES: Final = "bytes"
PER_SECOND: Final = "ops"
CREDITS: Final = "suffix: cr"

SOURCE: Final = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
Query: TypeAlias = tuple[str, str]
Panel: TypeAlias = Any


def graph(
    title: str, told: str, unit: str, *asked: Query, width: int = 8, stacked: bool = False
) -> Panel:
    """Lines over time; ``asked`` are (expression, legend)."""
    panel = (
        timeseries.Panel()
        .title(title).description(told).unit(unit).span(width).height(TALL).datasource(SOURCE)
        .min(0).line_width(1).fill_opacity(60 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
        .legend(
            common_builders.VizLegendOptions()
            .show_legend(True).display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
    )  # fmt: skip
    if stacked:
        panel = panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    return _asking(panel, asked)


def number(
    title: str, told: str, unit: str, expr: str, *, width: int = 4, warn: float | None = None,
    nothing: str = "",
) -> Panel:  # fmt: skip
    """One figure, the last one; red from ``warn`` on.

    With ``nothing`` it is asked for this moment alone, and says so where there is none: the last
    figure of a share may be of long ago.
    """
    steps = [models.Threshold(value=None, color="green")]
    if warn is not None:
        steps.append(models.Threshold(value=warn, color="red"))
    panel = (
        stat.Panel()
        .title(title).description(told).unit(unit).span(width).height(SHORT).datasource(SOURCE)
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(
            builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
        )
    )  # fmt: skip
    if nothing:
        asked = prometheus.Dataquery().expr(expr).legend_format(title).ref_id("A").instant()
        panel = panel.graph_mode(common.BigValueGraphMode.NONE).no_value(nothing)
        return panel.with_target(asked)
    return _asking(panel, [(expr, title)])


def heat(title: str, told: str, expr: str, *, width: int = 12) -> Panel:
    """A heatmap of a classic histogram: ``expr`` gives one series per ``le``."""
    panel = (
        heatmap.Panel()
        .title(title).description(told).span(width).height(TALL).datasource(SOURCE)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(SECONDS))
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmaps.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
        )
    )  # fmt: skip
    asked = prometheus.Dataquery().expr(expr).legend_format("{{le}}").ref_id("A").range()
    return panel.with_target(asked.format(queries.PromQueryFormat.HEATMAP))


def rows(title: str, told: str, unit: str, *asked: Query, width: int = 12) -> Panel:
    """A table with one line per label set; each expression is a column of the legend's name."""
    panel = (
        table.Panel()
        .title(title).description(told).unit(unit).span(width).height(TALL).datasource(SOURCE)
    )  # fmt: skip
    renamed = {f"Value #{_ref(at)}": legend for at, (_, legend) in enumerate(asked)}
    hidden = {"Time": True, "__name__": True}
    for at, (expr, legend) in enumerate(asked):
        asks = prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(_ref(at)).instant()
        panel = panel.with_target(asks.format(queries.PromQueryFormat.TABLE))
    return panel.with_transformation(
        models.DataTransformerConfig(id_val="merge", options={})
    ).with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={"renameByName": renamed | {"Value": asked[0][1]}, "excludeByName": hidden},
        )
    )


def _asking(panel: Panel, asked: Iterable[Query]) -> Panel:
    for at, (expr, legend) in enumerate(asked):
        query = prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(_ref(at)).range()
        panel = panel.with_target(query)
    return panel


def _ref(at: int) -> str:
    return "ABCDEFGHIJ"[at]


def choice(name: str, label: str, told: str, metric: str) -> Any:
    """A variable: any of the values that a metric's label of that name has."""
    return (
        builders.QueryVariable(name)
        .label(label).description(told).datasource(SOURCE)
        .query(f"label_values({metric}, {name})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True).include_all(True).all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )  # fmt: skip


def typed(name: str, label: str, told: str, default: str) -> Any:
    """A variable that the reader types."""
    option = models.VariableOption(selected=True, text=default, value=default)
    return (
        builders.TextBoxVariable(name)
        .label(label).description(told).default_value(default).current(option)
    )  # fmt: skip


def mark(name: str, colour: str, expr: str, title: str) -> Any:
    """Marks on every graph, where ``expr`` has a sample."""
    return (
        builders.AnnotationQuery()
        .name(name).datasource(SOURCE).enable(True).icon_color(colour).expr(expr)
        .title_format(title).step("5s")
    )  # fmt: skip


RESTARTS: Final = (
    'changes(process_start_time_seconds{job=~"worker|sink-.*|source-.*"}[1m]) > 0',
    "{{job}} {{instance}} restarted",
)
ALERTS: Final = ('ALERTS{alertname=~"Bidplane.*",alertstate="firing"}', "{{alertname}}")


def assembled(
    uid: str, title: str, told: str, variables: Sequence[Any], marks: Sequence[Any],
    rows_of_panels: Sequence[tuple[str, Sequence[Panel]]],
) -> models.Dashboard:  # fmt: skip
    """A dashboard; rows are (title, panels), ids count from 1 in order."""
    made = (
        builders.Dashboard(title)
        .uid(uid).description(told).tags(["bidplane"]).editable().refresh("10s")
        .time("now-30m", "now").timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            builders.DatasourceVariable("datasource")
            .label("Prometheus").description("Where the figures come from.").type("prometheus")
        )
    )  # fmt: skip
    for variable in variables:
        made = made.with_variable(variable)
    for one in (
        *marks, mark("Restarts", "blue", *RESTARTS), mark("Alerts", "red", *ALERTS)
    ):  # fmt: skip
        made = made.annotation(one)
    number_of_panels = 0
    for heading, panels in rows_of_panels:
        number_of_panels += 1
        made = made.with_row(builders.Row(heading).id(number_of_panels))
        for panel in panels:
            number_of_panels += 1
            made = made.with_panel(panel.id(number_of_panels))
    return made.build()
