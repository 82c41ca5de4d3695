"""The plot and table nodes of a scene as pictures: Slicer draws them with Qt widgets that do not exist outside of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray
from PySide6 import QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy


def chartPicture(chartNode: Any, width: int, height: int) -> NDArray[np.uint8]:
    """[row, column, 3]: every series of a vtkMRMLPlotChartNode from its own table, colours and titles as the nodes say."""
    view = vtk.vtkContextView()
    window = view.GetRenderWindow()
    window.SetOffScreenRendering(True)
    window.SetSize(width, height)
    chart = vtk.vtkChartXY()
    view.GetScene().AddItem(chart)
    chart.SetTitle(chartNode.GetTitle())
    chart.SetShowLegend(True)
    chart.GetAxis(vtk.vtkAxis.BOTTOM).SetTitle(chartNode.GetXAxisTitle())
    chart.GetAxis(vtk.vtkAxis.LEFT).SetTitle(chartNode.GetYAxisTitle())
    for index in range(chartNode.GetNumberOfPlotSeriesNodes()):
        series = chartNode.GetNthPlotSeriesNode(index)
        plot = chart.AddPlot(vtk.vtkChart.LINE)
        plot.SetInputData(series.GetTableNode().GetTable(), series.GetXColumnName(), series.GetYColumnName())
        plot.SetColor(*(round(255 * value) for value in series.GetColor()), 255)
        plot.SetWidth(series.GetLineWidth())
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    columns, rows, _ = grab.GetOutput().GetDimensions()
    pixels = vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars())
    return pixels.reshape(rows, columns, -1)[::-1, :, :3].copy()


def tablePicture(tableNode: Any, width: int, height: int) -> QtGui.QImage:
    """A vtkMRMLTableNode as a table."""
    table = tableNode.GetTable()
    widget = QtWidgets.QTableWidget(table.GetNumberOfRows(), table.GetNumberOfColumns())
    widget.setHorizontalHeaderLabels([table.GetColumnName(column) for column in range(table.GetNumberOfColumns())])
    for row in range(table.GetNumberOfRows()):
        for column in range(table.GetNumberOfColumns()):
            widget.setItem(row, column, QtWidgets.QTableWidgetItem(table.GetValue(row, column).ToString()))
    widget.verticalHeader().hide()
    widget.resizeColumnsToContents()
    widget.resize(width, height)
    widget.show()
    QtWidgets.QApplication.processEvents()
    picture = widget.grab().toImage()
    widget.close()
    return picture
