"""Figures of the chapter *Backpropagation*."""
