//! The apply core's first form, without keys and redo: it is replaced by the full one.
#![allow(missing_docs, unused, clippy::unwrap_used)]
use bytes::Bytes;
use command::{entry::*, reply::Reply};
use prost::Message;
pub use sqlite::Error;
use sqlite::{Care, Conclusion, Position, Resume, Writer};
use std::sync::Arc;
pub struct Applier {
    w: Option<Writer>,
    o: sqlite::Options,
}
pub struct Entry {
    pub position: Position,
    pub body: Body,
}
pub enum Body {
    Blank,
    Membership(Bytes),
    Command(Arc<Command>),
}
pub struct Applied {
    pub position: Option<Position>,
    pub membership: Option<Bytes>,
    pub settings: Option<Settings>,
}
impl Applier {
    pub fn open(p: &std::path::Path, o: &sqlite::Options) -> Result<Self, Error> {
        Ok(Self {
            w: Some(Writer::open(p, o)?),
            o: o.clone(),
        })
    }
    pub fn applied(&self) -> Applied {
        let s = self.w.as_ref().unwrap().committed();
        Applied {
            position: s.applied,
            membership: (!s.membership.is_empty()).then(|| s.membership.clone()),
            settings: (!s.settings.is_empty()).then(|| Settings::decode(&*s.settings).unwrap()),
        }
    }
    pub fn apply(&mut self, b: &[Entry]) -> Result<Vec<Reply>, Error> {
        let w = self.w.as_mut().unwrap();
        w.begin()?;
        let mut out = vec![];
        for e in b {
            let mut reply = Reply::default();
            match &e.body {
                Body::Blank => {}
                Body::Membership(m) => {
                    w.state_mut().membership = m.clone();
                    w.state_mut().membership_at = Some(e.position);
                }
                Body::Command(c) => match &c.action {
                    Some(Action::Write(wr)) => match w.run(wr, Care::Quick, Resume::default())? {
                        Conclusion::Done(r) => {
                            reply = r.reply;
                            w.state_mut().effect = r.effect;
                        }
                        _ => panic!("care"),
                    },
                    Some(Action::Settings(s)) => {
                        w.state_mut().settings = s.encode_to_vec().into();
                    }
                    _ => {}
                },
            }
            w.state_mut().applied = Some(e.position);
            reply.index = e.position.index;
            out.push(reply);
        }
        w.commit()?.unwrap();
        Ok(out)
    }
    pub fn make_durable(&mut self) -> Result<Option<Position>, Error> {
        self.w.as_mut().unwrap().make_durable()
    }
    pub fn maintain(&mut self) -> Result<(), Error> {
        if self.w.as_ref().unwrap().wal_bytes() > 4 << 20 {
            self.w.as_mut().unwrap().finish_checkpoint()?;
        }
        Ok(())
    }
    pub fn replace(&mut self, r: impl FnOnce() -> Result<sqlite::Generation, Error>) -> Result<(), Error> {
        self.w = None;
        let g = r()?;
        self.w = Some(Writer::open(&g.database(), &self.o)?);
        Ok(())
    }
}
