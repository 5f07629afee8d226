//! What a load found, for people: the line while it runs, tables and pictures after, a page, a comparison.

mod bins;
mod compare;
mod figures;
mod html;
mod pictures;
mod progress;
mod screen;
mod slices;
mod table;
mod tables;

pub(crate) use compare::{Named, compare};
pub(crate) use html::html;
pub(crate) use progress::Progress;
pub(crate) use screen::Screen;
pub(crate) use tables::{Shown, heading, tables};

#[cfg(test)]
mod tests;
