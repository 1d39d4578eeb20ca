mod clauses;
mod schemas;
mod traceability;
mod vectors;
